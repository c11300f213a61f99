// The study's server, and the key to it that stays on the device.

export let session = null; // {token, practised}
let storedAt = '';

// One address may serve one study after another.
export function restore(study) {
  storedAt = `medfe-study ${study.created}`;
  try {
    const stored = JSON.parse(localStorage.getItem(storedAt));
    session = stored && typeof stored.token === 'string' ? stored : null;
  } catch {
    session = null;
  }
}

export function keep(value) {
  session = value;
  try {
    if (value) localStorage.setItem(storedAt, JSON.stringify(value));
    else localStorage.removeItem(storedAt);
  } catch { /* a browser that keeps nothing can still finish in one sitting */ }
}

export const randomName = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');

export class Refused extends Error {
  constructor(message, why) {
    super(message);
    this.why = why;
  }
}

export async function ask(path, body) {
  const options = { headers: {} };
  if (session) options.headers.Authorization = `Bearer ${session.token}`;
  if (body !== undefined) {
    options.method = 'POST';
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  let answer;
  try {
    answer = await fetch(`api/${path}`, options);
  } catch {
    throw new Refused('The study cannot be reached.', 'network');
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(content.error || 'The study has a fault.', content.why || 'fault');
  return content;
}
