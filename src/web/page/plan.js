// The memory plan as a bar: of the project as it is configured now, and of a run's stages.
import { get } from './api.js';
import { h, fill, bytes, count, figure, seconds, faultBox, panel, wait } from './dom.js';

const COLORS = ['--s1', '--s2', '--s3', '--s4', '--s5', '--s6', '--s7', '--s8'];
const policyWord = (p) => (typeof p === 'string' ? p : JSON.stringify(p)).replaceAll('_', ' ');

/** Bar and table of a plan; `measured` is the peak that was seen. */
export function memory(plan, title, measured = null) {
  const parts = plan.parts.filter((p) => p.bytes > 0).sort((a, b) => b.bytes - a.bytes);
  const whole = Math.max(plan.budget, plan.peak_bytes, measured ?? 0) || 1;
  // A small peak in a large budget would be a sliver: the bar ends a little above what is used.
  const used = Math.max(plan.peak_bytes, measured ?? 0);
  const shown = used > whole * 0.4 ? whole : Math.max(used * 1.6, 1);
  const share = (n) => `${(100 * n) / shown}%`;
  const color = (i) => `var(${COLORS[i % COLORS.length]})`;
  const cut = shown < whole;
  return h('div', { class: 'mem' },
    h('div', { class: 'line' }, h('b', null, title),
      h('span', null, `${bytes(plan.peak_bytes)} of ${bytes(plan.budget)}`)),
    h('div', { class: 'track', role: 'img', 'aria-label': `${title}: peak ${bytes(plan.peak_bytes)} of `
      + `${bytes(plan.budget)}` },
    parts.map((p, i) => h('i', { title: `${p.name}: ${bytes(p.bytes)}`,
      style: { width: share(p.bytes), background: color(i) } })),
    measured !== null && h('span', { class: 'mark', title: `measured ${bytes(measured)}`,
      style: { left: share(measured) } })),
    h('div', { class: 'under' },
      h('span', null, `keeps: ${policyWord(plan.policy)}, ${count(plan.tokens_per_pass)} tokens a pass`),
      h('span', null, measured !== null && `measured ${bytes(measured)} (the mark)`),
      h('span', null, cut ? `the bar ends at ${bytes(shown)}` : '0 to all that there is')),
    h('div', { class: 'scroll' }, h('table', { style: { marginTop: '8px' } }, h('tbody', null,
      parts.map((p, i) => h('tr', null,
        h('td', null, h('span', { class: 'swatch', style: { background: color(i) } }), p.name),
        h('td', { class: 'num' }, bytes(p.bytes)),
        h('td', { class: 'num dim' }, `${((100 * p.bytes) / plan.peak_bytes).toFixed(1)} %`)))))));
}

export function view(main, { project }) {
  const memoryInput = h('input', { placeholder: 'what is free now', size: '14', name: 'memory' });
  const gpu = h('input', { placeholder: 'for example 24GiB', size: '14', name: 'gpu' });
  const box = h('div', null, wait(420));
  const form = h('form', { class: 'tools', onsubmit: (e) => { e.preventDefault(); load(); } },
    h('h1', null, 'Memory'), h('span', { class: 'right' }),
    h('label', null, 'For memory ', memoryInput), h('label', null, 'or for a GPU with ', gpu),
    h('button', { type: 'submit' }, 'Plan'));
  fill(main, form, box);
  let broken = null;

  async function load() {
    broken?.abort();
    broken = new AbortController();
    fill(box, wait(420));
    try {
      const params = { project, memory: memoryInput.value.trim(), gpu_memory: gpu.value.trim() };
      draw(await get('plan', params, broken.signal));
    } catch (fault) {
      if (fault.name !== 'AbortError') fill(box, faultBox(fault, load));
    }
  }
  function draw(p) {
    const told = [...p.absent.map((a) => `not there yet: ${a}`), ...p.warnings];
    const time = p.time && `${seconds(p.time.seconds)}${p.time.measured ? ', from measured steps' : ', estimated'}`;
    const facts = [['Model', p.model], ['Weights', count(p.parameters)],
      ['Tokens in a step, at most', count(p.window_tokens)],
      ['Largest batch that fits one pass', count(p.largest_batch)],
      ['Time', time ?? 'not known'], ['Disk, at most', bytes(p.disk_bytes)]];
    fill(box,
      told.length > 0 && h('div', { class: 'note' }, told.map((t) => h('p', null, t))),
      h('div', { class: 'pair' },
        panel('Peak memory', h('div', { class: 'body' }, memory(p, 'Peak'))),
        h('div', null, panel('The run', h('div', { class: 'body flush' }, h('table', { class: 'pairs' },
          h('tbody', null, facts.map(([k, v]) => h('tr', null, h('td', { class: 'dim' }, k),
            h('td', { class: 'num' }, v))))))),
        h('div', { style: { height: '12px' } }),
        panel('Stages', h('div', { class: 'body flush scroll' }, h('table', null,
          h('thead', null, h('tr', null, ['Stage', 'Steps', 'Epochs', 'Batch', 'Accumulated',
            'Learning rate', 'Warm-up'].map((t) => h('th', { class: 'num' }, t)))),
          h('tbody', null, p.stages.map((s, i) => h('tr', null, [i + 1, count(s.steps),
            s.epochs === null ? '\u2013' : s.epochs.toFixed(2), s.batch_size, s.gradient_accumulation,
            figure(s.learning_rate), s.warmup_steps].map((v) => h('td', { class: 'num' }, v)))))))))));
  }
  load();
  return { end: () => broken?.abort(), keys: { '/': () => memoryInput.focus() } };
}
