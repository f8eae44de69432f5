// One run: how it stands, its curves as they grow, its log and what it left.
import { get, events, readOnly } from './api.js';
import { h, fill, put, figure, count, bytes, seconds, when, plain, dash, faultBox, panel, wait } from './dom.js';
import { Chart, Group } from './chart.js';
import { badge, can, doings, startWord, stateWord } from './runs.js';
import { memory } from './plan.js';

/** The pictures: title, series with colour, how values are written, whether log makes sense. */
const PICTURES = [
  { title: 'Loss', wide: true, log: true, series: [['loss', 'training', '--s1'],
    ['eval_loss', 'validation', '--s2', true]] },
  { title: 'Learning rate', log: true, series: [['learning_rate', 'learning rate', '--s4']] },
  { title: 'Gradient norm', log: true, series: [['grad_norm', 'gradient norm', '--s5']] },
  { title: 'Tokens per second', third: true, series: [['tokens_per_second', 'tokens/s', '--s3']],
    format: (v) => figure(v, 0) },
  { title: 'Validation accuracy', third: true, series: [['eval_accuracy', 'accuracy', '--s2', true]] },
  { title: 'Largest resident memory', third: true, series: [['peak_rss_bytes', 'memory', '--s6']], format: bytes },
];
const LOG_LINES = 2000;
const smoothKept = () => Number(localStorage.getItem('tallow.smooth') ?? '0.8');

/** The series of a picture from what the server gave: the moving mean above the values it is of. */
export function drawn(got, series, label = '') {
  const by = Object.fromEntries(got.series.map((s) => [s.name, s]));
  return series.flatMap(([name, word, color, dots]) => {
    const [raw, smooth] = [by[name], by[`${name}_smooth`]];
    if (!raw) return [];
    const full = label || word;
    if (!smooth) return [{ name: full, color, dots, x: raw.x, y: raw.y }];
    return [{ name: full, color, faint: true, x: raw.x, y: raw.y },
      { name: full, color, x: smooth.x, y: smooth.y }];
  });
}

/** A slider for the weight of the moving mean. */
export function smoothing(act) {
  const out = h('output', null, smoothKept().toFixed(2));
  const slider = h('input', { type: 'range', min: '0', max: '0.99', step: '0.01',
    value: String(smoothKept()), oninput: () => {
      put(out, Number(slider.value).toFixed(2));
      localStorage.setItem('tallow.smooth', slider.value);
      act();
    } });
  return { element: h('label', { class: 'smooth' }, 'Smoothing', slider, out),
    value: () => slider.value };
}

/** Calls at most so often, the last call always. */
export function seldom(ms, act) {
  let [timer, last] = [0, 0];
  return () => {
    clearTimeout(timer);
    const left = Math.max(0, ms - (performance.now() - last));
    timer = setTimeout(() => { last = performance.now(); act(); }, left);
  };
}

export function view(main, { project, id, go }) {
  let row = null;
  let broken = null;
  const group = new Group(() => { askCurves(); drawReset(); });
  const charts = PICTURES.map((p) => new Chart(p.title, group, p));
  const smooth = smoothing(() => askCurves());
  const title = h('h1', null, id);
  const state = h('span');
  const acts = h('div', { class: 'acts' });
  const tiles = h('div', { class: 'tiles' });
  const bar = h('i');
  const progress = h('div', { class: 'progress' }, bar);
  const left = h('span');
  const right = h('span');
  const told = h('div');
  const log = h('pre', { class: 'log', tabindex: '0', 'aria-label': 'Log' });
  const follow = h('input', { type: 'checkbox', checked: true, id: 'follow' });
  const reset = h('button', { class: 'small', type: 'button', disabled: true,
    onclick: () => group.zoom(null) }, 'Whole run');
  const rest = h('div', { class: 'pair' }, wait(200), wait(200));
  fill(main, h('div', { class: 'head' }, title, state, acts), told,
    h('div', { class: 'whole' }, progress, h('div', { class: 'words' }, left, right)), tiles,
    h('div', { class: 'tools' }, smooth.element, reset,
      h('span', { class: 'dim' }, 'Drag to zoom, double-click for all, Shift and wheel to go nearer')),
    h('div', { class: 'charts' }, charts.map((c) => c.element)),
    h('div', { style: { marginBottom: '12px' } }, panel('Log', log,
      h('label', { class: 'right dim', for: 'follow' }, follow, ' follow'))),
    rest);
  drawTiles(null);

  function drawReset() { reset.disabled = group.range === null; }

  async function curves() {
    broken?.abort();
    broken = new AbortController();
    const [from, to] = group.range ?? [];
    const points = Math.min(2000, Math.max(300, Math.round(charts[0].canvas.clientWidth * 1.5)));
    try {
      const params = { project, run: id, points, from, to, smooth: smooth.value() };
      const got = await get('curves', params, broken.signal);
      PICTURES.forEach((p, i) => charts[i].set(drawn(got, p.series), got.second_stage));
    } catch (fault) {
      if (fault.name !== 'AbortError') fill(told, faultBox(fault, askCurves));
    }
  }
  const askCurves = seldom(400, curves);

  function drawTiles(r) {
    const m = r?.metrics ?? {};
    const all = [['Loss', figure(m.train_loss)], ['Validation loss', figure(m.validation_loss)],
      [r?.best_loss != null ? `Best, at step ${count(r.best_step)}` : 'Best', figure(r?.best_loss)],
      ['Learning rate', figure(m.learning_rate)], ['Tokens/s', figure(m.tokens_per_second, 0)],
      ['Largest memory', bytes(m.peak_memory_bytes)], ['Trained tokens', r ? count(r.trained_tokens) : dash],
      ['Time', r?.wall_seconds ? seconds(r.wall_seconds) : dash]];
    if (tiles.children.length === 0) {
      fill(tiles, all.map(([k, v]) => h('div', { class: 'tile' }, h('b', null, v), h('span', null, k))));
    } else all.forEach(([k, v], i) => {
      put(tiles.children[i].firstChild, v);
      put(tiles.children[i].lastChild, k);
    });
  }
  function draw(r) {
    const changed = row?.state !== r.state;
    row = r;
    drawTiles(r);
    bar.style.width = `${r.total ? (100 * r.done) / r.total : 0}%`;
    progress.className = `progress ${r.state}`;
    const stage = r.stages > 1 ? `stage ${r.stage}, ` : '';
    put(left, `${stage}step ${count(r.done)} of ${count(r.total)} \u00b7 ${r.model} \u00b7 ${r.method} \u00b7 `
      + `${r.device} \u00b7 made ${when(r.created_at)}`);
    put(right, r.state === 'queued' ? `${r.queue_position ?? 0} before it`
      : r.state === 'running' && r.seconds_left !== null ? `${seconds(r.seconds_left)} left` : '');
    if (!changed) return;
    document.title = `${stateWord(r.state)} \u00b7 ${r.run_id} \u00b7 Tallow`;
    fill(state, badge(r.state));
    fill(told, r.reason && h('div', { class: `note${r.state === 'failed' ? ' bad' : ''}` },
      h('p', null, r.reason.message), r.reason.hint && h('p', { class: 'dim' }, r.reason.hint)));
    const button = (word, what, kind) => h('button', { type: 'button', class: kind,
      onclick: () => doings[what](project, row, draw) }, word);
    fill(acts, readOnly ? [] : [can.start(r) && button(startWord(r), 'start', 'main'),
      can.pause(r) && button('Pause', 'pause'), can.cancel(r) && button('Cancel', 'cancel', 'danger')]);
    more();
  }

  function addLog({ lines, anew }) {
    const make = (line) => {
      const kind = /warning/.test(line) ? 'warn' : /diverged|error/.test(line) ? 'bad'
        : /\(best\)|finished/.test(line) ? 'good' : null;
      return h('div', { class: kind }, line);
    };
    if (anew) log.replaceChildren();
    log.append(...lines.map(make));
    while (log.children.length > LOG_LINES) log.firstChild.remove();
    if (follow.checked) log.scrollTop = log.scrollHeight;
  }

  /** What lies below the curves: asked for when the state changes. */
  async function more() {
    try {
      const page = await get('run', { project, run: id });
      fill(rest, details(page, project, go));
    } catch (fault) {
      fill(rest, faultBox(fault, more));
    }
  }

  let end = () => {};
  const checkpointsSoon = seldom(5000, more);
  let saved = null;
  function listen() {
    end();
    end = events({ project, run: id }, {
      run: (r) => {
        draw(r);
        // Checkpoints, and samples, which come with evaluations.
        const now = `${r.last_checkpoint} ${r.metrics?.validation_loss}`;
        if (saved !== now) { if (saved !== null) checkpointsSoon(); saved = now; }
      },
      curve: askCurves,
      log: addLog,
      fault: ({ error }) => fill(told, faultBox(error)),
      lost: async () => {
        // A name that is no run's is told once; a server that is away is tried again.
        try { await get('run', { project, run: id }); listen(); } catch (fault) {
          fill(told, faultBox(fault, listen));
          if (fault.code !== 'offline') fill(rest);
        }
      },
    });
  }
  listen();
  const press = (what) => () => !readOnly && row && can[what](row) && doings[what](project, row, draw);
  return { end: () => { end(); broken?.abort(); charts.forEach((c) => c.end()); }, keys: {
    s: press('start'), p: press('pause'), 0: () => group.zoom(null),
    l: () => charts[0].element.querySelector('button')?.click(),
    d: () => go({ v: 'data', run: id }),
  } };
}

const table = (rows) => h('table', { class: 'pairs' }, h('tbody', null, rows.map(([k, ...v]) => h('tr', null,
  h('td', { class: 'dim' }, k), v.map((one) => h('td', null, one))))));

/** A JSON value as dotted keys and plain values. */
function flat(value, path = '') {
  if (value && typeof value === 'object' && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([k, v]) => flat(v, path ? `${path}.${k}` : k));
  }
  return [[path, plain(value)]];
}

function details(page, project, go) {
  const box = (title, body, more) => panel(title, h('div', { class: 'body flush cap' }, body), more);
  const none = (words) => h('div', { class: 'empty' }, words);
  const plans = page.stages.filter((s) => s.memory_plan);
  const checkpoints = page.checkpoints.slice().reverse().map((c) => h('tr', null,
    h('td', null, `stage ${c.stage}`), h('td', { class: 'num' }, count(c.step)),
    h('td', null, h('span', { class: 'mono' }, c.path), c.best && h('span', null, ' (best)'))));
  const reports = Object.entries(page.evaluations);
  const files = page.dataset.files ?? [];
  const part = (name, p) => p && [name, `${count(p.rows)} rows, ${count(p.sequences)} sequences, `
    + `${count(p.tokens)} tokens, ${count(p.trained_tokens)} of them trained`];
  const data = [part('train', page.dataset.train), part('validation', page.dataset.validation),
    part('test', page.dataset.test), part('stage 2', page.dataset.stage2?.train),
    ...files.map((f) => ['file', f.path])].filter(Boolean);
  return [
    ...plans.map((s) => panel('Memory', h('div', { class: 'body' },
      memory(s.memory_plan, `Stage ${s.stage}`, s.peak_memory?.measured_bytes ?? null)))),
    box('Checkpoints', checkpoints.length
      ? h('table', null, h('tbody', null, checkpoints)) : none('None yet.')),
    page.samples.length > 0 && box('Samples', h('table', null, h('tbody', null, page.samples.slice().reverse().map((s) =>
      h('tr', null, h('td', { class: 'dim' }, `stage ${s.stage}, step ${count(s.step)}`),
        h('td', null, h('div', { class: 'dim' }, s.prompt), h('div', { class: 'mono pre' }, s.text))))))),
    box('Data', table(data), h('a', { class: 'right', href: go.address({ v: 'data', run: page.run.run_id }) },
      'See the examples (d)')),
    ...reports.map(([path, report]) => box(`Evaluation: ${path}`, table(flat(report)))),
    reports.length === 0 && box('Evaluations', none('None yet: `tallow eval --run` writes one.')),
    page.exports.length > 0 && box('Exports', page.exports.map((e) => table(flat(e)))),
    box('Settings', table(flat(page.config))),
    box('Where it comes from', table(flat(page.origin))),
  ].filter(Boolean);
}
