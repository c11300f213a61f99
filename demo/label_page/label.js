// The course of a session: consent, practice, trials, and what may come between.

import { isArrow, load, moveBy, reveal, seen, startWatch, stopWatch, toggleZoom, wasZoomed } from './pictures.js';
import { Refused, ask, keep, randomName, restore, session } from './server.js';

const SECONDS_A_TRIAL = 8; // for the time that the page announces
const SETTLE = 250; // milliseconds in which a second press of a key cannot answer the next trial

const find = (id) => document.getElementById(id);
const answers = [...document.querySelectorAll('#answers button')];

let study = null;
let current = null; // {trial, kind: 'practice' | 'trial' | 'correction', number}
let pending = null; // the answer on its way; sent again as it is
let busy = false;
let joining = null; // name of the request to join

// What is on the screen

function show(id) {
  for (const section of document.querySelectorAll('main > section')) section.hidden = section.id !== id;
}

function tell(text, kind = '') {
  find('status').textContent = text;
  find('status').className = kind;
}

function notice(headline, message, button = '', action = null, leave = false) {
  stopWatch();
  find('headline').textContent = headline;
  find('message').textContent = message;
  find('resume').textContent = button;
  find('resume').hidden = !action;
  find('resume').onclick = () => {
    find('resume').hidden = true; // what it does is done once; a further notice offers it again
    action();
  };
  find('leave').hidden = !leave;
  show('notice');
  find(action ? 'resume' : 'headline').focus();
}

function offer(text, action) {
  const button = find('proceed');
  button.textContent = text;
  button.hidden = !action;
  button.onclick = action;
  if (action) button.focus();
}

function enable(on) {
  busy = !on;
  for (const button of [...answers, find('pause'), find('back'), find('withdraw')]) button.disabled = !on;
  if (on) find('back').disabled = current.kind === 'practice' || (current.kind === 'trial' && current.position === 0);
}

async function present(content, next) {
  enable(false);
  offer('', null);
  const sides = study.shows_original ? ['original', 'left', 'right'] : ['left', 'right'];
  await load(content, sides).catch(() => {
    throw new Refused('A picture could not be shown.', 'fault');
  });
  current = { ...next, trial: content.trial, position: content.position };
  find('label').textContent = current.kind === 'practice'
    ? `Practice ${current.number + 1} of ${study.practice}: one of the two is the photograph itself`
    : current.kind === 'correction' ? 'Your last answer: choose again' : `${content.position + 1} of ${content.total}`;
  find('back').lastChild.textContent = current.kind === 'correction' ? 'Keep it' : 'Change last';
  if (current.kind === 'trial') progress(content.position, content.total);
  show('trial');
  await reveal();
  enable(true);
  document.body.dataset.ready = `${current.kind} ${current.kind === 'practice' ? current.number : current.position}`;
}

function progress(done, total) {
  find('bar').value = total ? done / total : 0;
  find('count').textContent = `${done} of ${total} answered`;
}

// The course of a session

async function guarded(action) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    failed(error, () => guarded(action));
  }
}

function failed(error, again) {
  const { why, message } = error;
  if (why === 'token') {
    keep(null);
    welcome();
  } else if (why === 'withdrawn') {
    keep(null);
    notice('You have withdrawn', 'Your answers have been deleted. You can close this page.');
  } else if (why === 'expired') {
    guarded(ended);
  } else if (why === 'complete') {
    notice('The study is complete', message);
  } else if (why === 'full' || why === 'crowded') {
    notice('Please come back later', message, 'Try again', again);
  } else if (why === 'answered' || why === 'not shown') {
    guarded(advance); // another window of this browser was faster
  } else {
    notice('That did not work', message, 'Try again', again);
  }
}

async function ended() {
  const { answered, total } = await ask('progress');
  if (answered) {
    notice('This session is over', `Its time has run out. Your ${answered} of ${total} answers are kept.`, '', null, true);
  } else {
    keep(null);
    notice('This session is over', 'You had not answered yet, and your place was given away.', 'Start again', welcome);
  }
}

function welcome() {
  find('title').textContent = study.title;
  find('instructions').textContent = study.instructions;
  const minutes = Math.ceil((study.trials + study.practice) * SECONDS_A_TRIAL / 60);
  find('task').textContent = `You will be asked ${study.trials} times: “${study.question}” ` +
    (study.practice ? `Before that come ${study.practice} pairs for practice. ` : '') +
    `All in all it takes about ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`;
  find('consent').textContent = study.consent;
  show('welcome');
  find('title').focus(); // what is agreed to comes before the button
}

async function advance() {
  if (session.practised < study.practice) {
    const number = session.practised;
    await present(await ask(`practice/${number}`), { kind: 'practice', number });
    find('bar').value = 0;
    find('count').textContent = '';
    return;
  }
  const content = await ask('next');
  if (content.finished) {
    document.body.dataset.ready = 'finished';
    notice('Finished. Thank you!', 'All your answers are saved. You can close this page.', '', null, true);
    return;
  }
  await present(content, { kind: 'trial' });
}

async function answer(choice) {
  if (busy || !current || seen() < SETTLE) return;
  stopWatch();
  enable(false);
  if (current.kind === 'practice') {
    await guarded(() => answerPractice(choice));
    return;
  }
  const body = { trial: current.trial, request: randomName(), choice };
  if (current.kind === 'trial') {
    Object.assign(body, {
      milliseconds: Math.round(seen()), width: innerWidth, height: innerHeight, pixel_ratio: devicePixelRatio,
      zoomed: wasZoomed(),
    });
  }
  pending = { path: current.kind === 'trial' ? 'vote' : 'correct', body };
  await send();
}

async function send() {
  tell('Saving …');
  offer('', null);
  let saved;
  try {
    saved = await ask(pending.path, pending.body);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (['network', 'database', 'fault'].includes(error.why)) {
      tell(error.message.startsWith('Not saved') ? error.message : `Not saved. ${error.message}`, 'error');
      offer('Try again', send);
    } else {
      tell('');
      failed(error);
    }
    return;
  }
  pending = null;
  progress(saved.answered, saved.total);
  tell('Saved');
  await guarded(advance);
}

async function answerPractice(choice) {
  const { photograph, correct } = await ask(`practice/${current.number}`, { choice });
  show('trial'); // a notice may have come between
  find(photograph).classList.add('is-right');
  tell(`${correct ? 'Yes' : 'No'}: the photograph is on the ${photograph}.`, correct ? 'right' : '');
  const last = current.number + 1 === study.practice;
  keep({ ...session, practised: current.number + 1 });
  offer(last ? 'Begin' : 'Next', () => {
    tell('');
    guarded(advance);
  });
}

function pause() {
  if (busy) return;
  notice('Paused', 'Your answers so far are saved. You can close this page and go on later in this browser.', 'Go on', () => {
    show('trial');
    startWatch();
  }, true);
}

async function begin() {
  find('agree').disabled = true;
  await guarded(async () => {
    if (!session) restore(study); // from another window
    if (!session) {
      joining ??= randomName(); // the same again if the reply is lost
      const { token } = await ask('join', { consent_version: study.consent_version, request: joining });
      keep({ token, practised: 0 });
      joining = null; // whoever starts again later is a new rater
    }
    await advance();
  });
  find('agree').disabled = false;
}

async function start() {
  study = await ask('study');
  restore(study);
  find('question').textContent = study.question;
  find('pictures').classList.toggle('with-original', study.shows_original);
  find('original').hidden = !study.shows_original;
  answers.forEach((button, place) => { button.querySelector('span').textContent = study.answers[place]; });
  document.title = study.title;
  if (!session) {
    welcome();
    return;
  }
  const { answered, total, expired } = await ask('progress');
  if (expired) {
    await ended();
    return;
  }
  if (answered === total) {
    await advance();
    return;
  }
  const where = answered ? `You have answered ${answered} of ${total}.` : 'You have not begun yet.';
  notice('Welcome back', where, 'Go on', () => guarded(advance), true);
}

// Keys and pointers

const KEYS = { 0: () => answer('tie'), 1: () => answer('left'), 2: () => answer('right'), b: () => find('back').click(), p: pause, z: toggleZoom };

document.addEventListener('keydown', (event) => {
  if (find('trial').hidden || find('confirm').open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isArrow(event.key)) {
    if (moveBy(event.key)) event.preventDefault();
    return;
  }
  const action = KEYS[event.key.toLowerCase()];
  if (!action || event.repeat) return;
  event.preventDefault();
  action();
});

for (const button of answers) {
  button.addEventListener('click', () => {
    button.blur(); // Enter goes to what comes next
    answer(button.dataset.choice);
  });
}
find('pause').addEventListener('click', pause);
find('back').addEventListener('click', () => {
  if (busy) return;
  tell('');
  enable(false); // until the other trial is there, a key would answer this one
  if (current.kind === 'correction') guarded(advance);
  else guarded(async () => present(await ask('last'), { kind: 'correction' }));
});
for (const id of ['withdraw', 'leave']) find(id).addEventListener('click', () => find('confirm').showModal());
find('keep').addEventListener('click', () => find('confirm').close());
find('delete').addEventListener('click', () => {
  find('confirm').close();
  guarded(async () => {
    await ask('withdraw', {});
    failed(new Refused('', 'withdrawn'));
  });
});
find('agree').addEventListener('click', begin);
document.addEventListener('visibilitychange', () => {
  if (!find('trial').hidden && !busy) (document.hidden ? stopWatch : startWatch)();
});

guarded(start);
