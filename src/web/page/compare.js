// Runs beside each other: curves over one another, and the settings in which they differ.
import { get } from './api.js';
import { h, fill, figure, count, seconds, bytes, plain, faultBox, panel, wait } from './dom.js';
import { Chart, Group } from './chart.js';
import { badge } from './runs.js';
import { drawn, seldom, smoothing } from './run.js';

const PICTURES = [
  { title: 'Training loss', name: 'loss', wide: true, log: true },
  { title: 'Validation loss', name: 'eval_loss', wide: true, log: true, dots: true },
  { title: 'Gradient norm', name: 'grad_norm', log: true },
  { title: 'Tokens per second', name: 'tokens_per_second', format: (v) => figure(v, 0) },
];
const FIGURES = [
  ['State', (r) => badge(r.state)], ['Steps', (r) => `${count(r.done)} of ${count(r.total)}`],
  ['Loss', (r) => figure(r.metrics.train_loss)], ['Validation', (r) => figure(r.metrics.validation_loss)],
  ['Best validation', (r) => figure(r.best_loss)], ['Trained tokens', (r) => count(r.trained_tokens)],
  ['Tokens/s', (r) => figure(r.metrics.tokens_per_second, 0)],
  ['Largest memory', (r) => bytes(r.metrics.peak_memory_bytes)], ['Time', (r) => seconds(r.wall_seconds)],
];
const color = (i) => `--s${(i % 8) + 1}`;

export function view(main, { project, runs, go }) {
  const names = (runs ?? '').split(',').filter(Boolean);
  const group = new Group(() => ask());
  const charts = PICTURES.map((p) => new Chart(p.title, group, p));
  const smooth = smoothing(() => ask());
  const below = h('div', null, wait(240));
  const told = h('div');
  fill(main, h('div', { class: 'head' }, h('h1', null, `Compare ${names.length} runs`),
    h('div', { class: 'acts' }, h('a', { href: go.address({ v: 'runs' }) }, 'All runs'))), told,
  h('div', { class: 'tools' }, smooth.element,
    h('button', { class: 'small', type: 'button', onclick: () => group.zoom(null) }, 'All steps')),
  h('div', { class: 'charts' }, charts.map((c) => c.element)), below);
  let broken = null;

  async function curves() {
    broken?.abort();
    broken = new AbortController();
    const { signal } = broken;
    const [from, to] = group.range ?? [];
    const one = (run) => get('curves',
      { project, run, points: 1000, from, to, smooth: smooth.value() }, signal);
    try {
      const all = await Promise.all(names.map(one));
      PICTURES.forEach((p, i) => charts[i].set(all.flatMap((got, n) =>
        drawn(got, [[p.name, p.title, color(n), p.dots]], names[n]))));
    } catch (fault) {
      if (fault.name !== 'AbortError') fill(told, faultBox(fault, ask));
    }
  }
  const ask = seldom(300, curves);

  async function settings() {
    try {
      const { runs: rows, settings: differing } = await get('diff', { project, runs: names.join(',') });
      const heads = h('thead', null, h('tr', null, h('th', null, ''), rows.map((r, i) =>
        h('th', null, h('span', { class: 'swatch', style: { background: `var(${color(i)})` } }),
          h('a', { href: go.address({ v: 'run', id: r.run_id }) }, r.run_id)))));
      const line = (name, cells) => h('tr', null, h('td', { class: 'dim' }, name),
        cells.map((c) => h('td', null, c)));
      fill(below, h('div', { class: 'pair' },
        h('div', { class: 'wide' }, panel('Figures', h('div', { class: 'body flush scroll' },
          h('table', null, heads, h('tbody', null, FIGURES.map(([n, f]) => line(n, rows.map(f)))))))),
        h('div', { class: 'wide' }, panel('Settings that differ', h('div', { class: 'body flush scroll' },
          differing.length === 0 ? h('div', { class: 'empty' }, 'None: the settings are the same.')
            : h('table', null, heads.cloneNode(true), h('tbody', null,
              differing.map((d) => line(h('span', { class: 'mono' }, d.key), d.values.map(plain))))))))));
    } catch (fault) {
      fill(below, faultBox(fault, settings));
    }
  }
  ask();
  settings();
  return { end: () => { broken?.abort(); charts.forEach((c) => c.end()); },
    keys: { 0: () => group.zoom(null) } };
}
