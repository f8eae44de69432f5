// The list of runs.
import { get, post, events, readOnly } from './api.js';
import { h, fill, put, figure, count, seconds, when, faultBox, empty, wait, toast, ask, dialog, closeDialog,
  dash } from './dom.js';

export const can = {
  start: (r) => ['not_started', 'paused', 'failed'].includes(r.state),
  pause: (r) => ['running', 'queued'].includes(r.state),
  cancel: (r) => ['running', 'queued', 'paused', 'failed', 'not_started'].includes(r.state),
};
export const startWord = (r) => (r.state === 'not_started' ? 'Start' : r.state === 'paused' ? 'Resume'
  : 'Start again');
export const stateWord = (s) => s.replace('_', ' ');
export const badge = (s) => h('span', { class: `state ${s}` }, stateWord(s));

/** Asks the server to change a run; the events then show what came of it. */
export async function act(what, project, run, words) {
  try {
    const { run: now } = await post(what, { project, run });
    toast(words);
    return now;
  } catch (fault) {
    toast(`${fault.message}${fault.hint ? ` (${fault.hint})` : ''}`, true);
    return null;
  }
}
export const doings = {
  start: (project, r) => act('start', project, r.run_id, `${r.run_id} is started`),
  pause: (project, r) => act('pause', project, r.run_id,
    `${r.run_id} pauses after its step and a checkpoint`),
  cancel: (project, r, done) => ask('Cancel run', `${r.run_id} cannot go on afterwards. `
    + 'Its checkpoints stay on disk.', async () => {
    const now = await act('cancel', project, r.run_id, `${r.run_id} is cancelled`);
    if (now) done?.(now);
  }, true),
};

const COLUMNS = [
  ['run', 'Run', (r) => r.run_id, 'name'], ['state', 'State', (r) => r.state, 'how'],
  ['loss', 'Loss', (r) => r.metrics.train_loss, 'num'],
  ['validation', 'Validation', (r) => r.metrics.validation_loss, 'num'],
  ['best', 'Best', (r) => r.best_loss, 'num'],
  ['speed', 'Tokens/s', (r) => r.metrics.tokens_per_second, 'num'],
  ['left', 'Time', (r) => r.seconds_left ?? r.wall_seconds, 'num'],
  ['made', 'Made', (r) => r.created_at, 'when'],
];
const STATES = ['running', 'queued', 'paused', 'not_started', 'completed', 'failed', 'cancelled'];

export function view(main, { project, go }) {
  let runs = new Map();
  let sort = ['made', -1];
  let here = 0;
  const picked = new Set();
  const rowsById = new Map();
  const search = h('input', { class: 'grow', type: 'search', placeholder: 'Filter by name or model',
    'aria-label': 'Filter runs', oninput: () => draw() });
  const states = h('select', { 'aria-label': 'State', onchange: () => draw() },
    h('option', { value: '' }, 'All states'),
    STATES.map((s) => h('option', { value: s }, stateWord(s))));
  const compare = h('button', { type: 'button', disabled: true, title: 'Compare (c)',
    onclick: () => openCompare() }, 'Compare');
  const fresh = h('button', { class: 'main', type: 'button', title: 'New run (n)', disabled: readOnly,
    onclick: () => newRun(project, go) }, 'New run');
  const heads = COLUMNS.map(([id, title, , kind]) => h('th', { class: kind, scope: 'col' },
    h('button', { type: 'button', onclick: () => sortBy(id) }, title)));
  const body = h('tbody');
  const table = h('table', { class: 'runs' }, h('thead', null, h('tr', null,
    h('th', { class: 'pick' }, h('span', { class: 'sr' }, 'Pick')), heads,
    h('th', { class: 'acts' }, h('span', { class: 'sr' }, 'Actions')))), body);
  const counted = h('span', { class: 'dim' });
  const box = h('div', null, wait(320));
  fill(main, h('h1', { class: 'sr' }, 'Runs'),
    h('div', { class: 'tools' }, search, states, counted, h('span', { class: 'right' }), compare, fresh),
    box);

  function sortBy(id) {
    sort = [id, sort[0] === id ? -sort[1] : id === 'run' || id === 'state' ? 1 : -1];
    draw();
  }
  function openCompare() {
    if (picked.size >= 2) go({ v: 'compare', runs: [...picked].join(',') });
  }
  function visible() {
    const text = search.value.trim().toLowerCase();
    const fits = (r) => (!states.value || r.state === states.value)
      && (!text || `${r.run_id} ${r.model} ${r.method}`.toLowerCase().includes(text));
    const value = COLUMNS.find(([id]) => id === sort[0])[2];
    return [...runs.values()].filter(fits).sort((a, b) => {
      const [p, q] = [value(a), value(b)];
      if (p === q) return a.run_id < b.run_id ? 1 : -1;
      if (p === null || p === undefined) return 1;
      if (q === null || q === undefined) return -1;
      return (p < q ? -1 : 1) * sort[1];
    });
  }

  function draw() {
    const all = visible();
    put(counted, runs.size ? `${all.length} of ${runs.size}` : '');
    heads.forEach((th, i) => th.setAttribute('aria-sort',
      COLUMNS[i][0] !== sort[0] ? 'none' : sort[1] > 0 ? 'ascending' : 'descending'));
    compare.disabled = picked.size < 2;
    put(compare, picked.size ? `Compare ${picked.size}` : 'Compare');
    if (runs.size === 0) {
      fill(box, h('div', { class: 'panel' }, empty('No runs yet',
        'New run makes one of the project\u2019s configuration, or in a shell: ',
        h('code', null, 'tallow train .'))));
      return;
    }
    if (all.length === 0) {
      fill(box, h('div', { class: 'panel' }, empty('No run fits', 'Change the filter above.')));
      return;
    }
    here = Math.min(here, all.length - 1);
    fill(body, all.map((r, i) => {
      const row = rowOf(r);
      row.element.classList.toggle('here', i === here);
      return row.element;
    }));
    if (!box.contains(table)) fill(box, h('div', { class: 'panel' }, table));
  }

  /** A row is made once; later only its texts change. */
  function rowOf(r) {
    let row = rowsById.get(r.run_id);
    if (!row) { row = makeRow(r); rowsById.set(r.run_id, row); }
    row.update(r);
    return row;
  }
  function makeRow(first) {
    const check = h('input', { type: 'checkbox', 'aria-label': `Pick ${first.run_id}`,
      onchange: () => pick(first.run_id) });
    const sub = h('div', { class: 'sub' });
    const state = h('span', { class: 'state' });
    const bar = h('i');
    const progress = h('div', { class: 'progress' }, bar);
    const steps = h('div', { class: 'sub' });
    const cells = Object.fromEntries(['loss', 'validation', 'best', 'speed', 'left', 'made'].map((id) => {
      const [, title, , kind] = COLUMNS.find(([c]) => c === id);
      return [id, h('td', { class: kind, 'data-label': title })];
    }));
    const acts = h('td', { class: 'acts' });
    const element = h('tr', { ondblclick: () => go({ v: 'run', id: first.run_id }) },
      h('td', { class: 'pick' }, check),
      h('td', { class: 'name' }, h('a', { class: 'id', href: go.address({ v: 'run', id: first.run_id }) },
        first.run_id), sub),
      h('td', { class: 'how' }, h('div', null, state, steps), progress), Object.values(cells), acts);
    let shown = '';
    return { element, update(r) {
      check.checked = picked.has(r.run_id);
      put(sub, `${r.model} \u00b7 ${r.method} \u00b7 ${r.device}`);
      state.className = `state ${r.state}`;
      put(state, stateWord(r.state));
      progress.className = `progress ${r.state}`;
      bar.style.width = `${r.total ? (100 * r.done) / r.total : 0}%`;
      put(steps, `${count(r.done)} / ${count(r.total)}`);
      put(cells.loss, figure(r.metrics.train_loss));
      put(cells.validation, figure(r.metrics.validation_loss));
      put(cells.best, figure(r.best_loss));
      put(cells.speed, figure(r.metrics.tokens_per_second, 0));
      put(cells.left, r.state === 'running' && r.seconds_left !== null
        ? `${seconds(r.seconds_left)} left` : r.wall_seconds ? seconds(r.wall_seconds) : dash);
      put(cells.made, when(r.created_at));
      element.title = r.reason ? r.reason.message : '';
      if (shown !== r.state) { shown = r.state; fill(acts, buttons(r)); }
    } };
  }
  function buttons(r) {
    if (readOnly) return [];
    const small = (word, what) => h('button', { class: 'small', type: 'button',
      onclick: () => doings[what](project, r) }, word);
    return [can.start(r) && small(startWord(r), 'start'), can.pause(r) && small('Pause', 'pause')];
  }
  function pick(id) {
    if (picked.has(id)) picked.delete(id); else picked.add(id);
    if (picked.size > 8) { picked.delete(id); toast('At most 8 runs can be compared', true); }
    draw();
  }
  function move(by) {
    here = Math.max(0, Math.min(visible().length - 1, here + by));
    draw();
    body.children[here]?.scrollIntoView({ block: 'nearest' });
  }

  let end = () => {};
  async function load() {
    try {
      const got = await get('runs', { project });
      runs = new Map(got.runs.map((r) => [r.run_id, r]));
      draw();
      for (const u of got.unreadable) toast(`${u.run_id}: ${u.problem}`, true);
    } catch (fault) {
      fill(box, faultBox(fault, load));
      return;
    }
    end();
    end = events({ project }, {
      runs: ({ runs: changed, gone }) => {
        changed.forEach((r) => runs.set(r.run_id, r));
        gone.forEach((id) => { runs.delete(id); rowsById.delete(id); picked.delete(id); });
        draw();
      },
      lost: load,
    });
  }
  load();
  const at = () => visible()[here];
  return { end: () => end(), keys: {
    '/': () => search.focus(), n: () => !readOnly && newRun(project, go), c: openCompare,
    j: () => move(1), k: () => move(-1), x: () => at() && pick(at().run_id),
    Enter: () => at() && go({ v: 'run', id: at().run_id }),
  } };
}

/** Makes a run of the project's configuration. */
function newRun(project, go) {
  const name = h('input', { value: 'run', maxlength: '60', required: true });
  const set = h('textarea', { rows: '4', spellcheck: false,
    placeholder: 'training.stage1.learning_rate=1e-4\nlora.rank=16' });
  const start = h('input', { type: 'checkbox', checked: true });
  const told = h('div');
  const make = h('button', { class: 'main', type: 'submit' }, 'Make run');
  const submit = async (e) => {
    e.preventDefault();
    make.disabled = true;
    put(make, 'Reading data\u2026');
    fill(told);
    const lines = set.value.split('\n').map((l) => l.trim()).filter(Boolean);
    try {
      const body = { project, name: name.value, set: lines, start: start.checked };
      const { run } = await post('new', body);
      closeDialog();
      go({ v: 'run', id: run.run_id });
    } catch (fault) {
      fill(told, faultBox(fault));
      make.disabled = false;
      put(make, 'Make run');
    }
  };
  dialog(h('form', { onsubmit: submit }, h('h2', null, 'New run'),
    h('label', { class: 'field' }, 'Name; the time is added', name),
    h('label', { class: 'field' }, 'Settings that differ from the project\u2019s, one a line', set),
    h('label', null, start, ' Start it at once'), told,
    h('div', { class: 'row' }, h('button', { type: 'button', onclick: closeDialog }, 'Close'), make)));
  name.select();
}
