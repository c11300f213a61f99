// The pictures of a trial: shown all at once, enlarged at the same place, and the time that they are seen.

const ZOOM = 3;
const STEP = 10; // percent of the picture that an arrow moves
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

const pictures = document.getElementById('pictures');
let zoomed = false;
let everZoomed = false; // since these pictures came
const watch = { since: null, spent: 0 };

export async function load(content, sides) {
  pictures.classList.add('waiting');
  pictures.querySelectorAll('.is-right').forEach((figure) => figure.classList.remove('is-right'));
  setZoom(false);
  everZoomed = false;
  await Promise.all(sides.map((side) => {
    const image = document.getElementById(side).querySelector('img');
    image.src = content[side];
    return image.decode();
  }));
}

export async function reveal() {
  pictures.classList.remove('waiting'); // all at once
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  watch.spent = 0;
  watch.since = null;
  startWatch();
}

// Time that they are seen

export function startWatch() {
  if (watch.since === null) watch.since = performance.now();
}

export function stopWatch() {
  if (watch.since !== null) watch.spent += performance.now() - watch.since;
  watch.since = null;
}

export function seen() {
  return watch.spent + (watch.since === null ? 0 : performance.now() - watch.since);
}

// Enlarging

export const wasZoomed = () => everZoomed;

export function toggleZoom() {
  setZoom(!zoomed);
}

export const isArrow = (key) => key in ARROWS;

export function moveBy(arrow) {
  const { x, y } = pictures.dataset;
  const [dx, dy] = ARROWS[arrow];
  if (zoomed) lookAt(Number(x) + dx, Number(y) + dy);
  return zoomed;
}

function setZoom(on, x = 50, y = 50) {
  zoomed = on;
  everZoomed ||= on;
  pictures.classList.toggle('zoomed', on);
  pictures.style.setProperty('--zoom', on ? ZOOM : 1);
  lookAt(x, y);
  document.getElementById('zoom').setAttribute('aria-pressed', on);
}

function lookAt(x, y) {
  const inside = (value) => Math.min(100, Math.max(0, value));
  Object.assign(pictures.dataset, { x: inside(x), y: inside(y) });
  pictures.style.setProperty('--x', `${inside(x)}%`);
  pictures.style.setProperty('--y', `${inside(y)}%`);
}

function place(event) {
  const frame = (event.target.closest('.frame') || pictures.querySelector('#left .frame')).getBoundingClientRect();
  return [100 * (event.clientX - frame.left) / frame.width, 100 * (event.clientY - frame.top) / frame.height];
}

document.getElementById('zoom').addEventListener('click', toggleZoom);
pictures.addEventListener('pointermove', (event) => {
  if (zoomed) lookAt(...place(event));
});
pictures.addEventListener('click', (event) => {
  if (event.target.closest('.frame')) setZoom(!zoomed, ...place(event));
});
