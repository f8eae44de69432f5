// The frame: which view is open, which project, light or dark, keys.
import { get } from './api.js';
import { h, fill, faultBox, empty, dialog, closeDialog } from './dom.js';
import * as runs from './runs.js';
import * as run from './run.js';
import * as compare from './compare.js';
import * as data from './data.js';
import * as plan from './plan.js';

const VIEWS = { runs, run, compare, data, plan };
const TABS = [['runs', 'Runs', '1'], ['data', 'Data', '2'], ['plan', 'Memory', '3']];
const KEYS = [['1 2 3', 'runs, data, memory'], ['/', 'to the filter or the first field'],
  ['j k', 'next and previous run'], ['Enter', 'open the run'], ['x', 'pick it to compare'],
  ['c', 'compare the picked runs'], ['n', 'new run'], ['s p', 'start or resume, pause (on a run\u2019s page)'],
  ['l 0', 'logarithmic loss; the whole run'], ['\u2190 \u2192 + -', 'in a chart: move, zoom'],
  ['d', 'the run\u2019s examples'], ['h l b', 'in data: earlier, later, token borders'],
  ['t', 'light or dark'], ['?', 'this list']];
const main = document.getElementById('main');
let open = null;
let projects = [];
let project = null;

function address(to) {
  return `#${new URLSearchParams({ ...to, p: project ?? '' })}`;
}
function go(to) { location.hash = address(to); }
go.address = address;

// Light or dark: the system's choice until somebody says otherwise.
const dark = matchMedia('(prefers-color-scheme: dark)');
function theme() {
  const kept = localStorage.getItem('tallow.theme');
  document.documentElement.dataset.theme = kept ?? (dark.matches ? 'dark' : 'light');
  dispatchEvent(new Event('resize'));
}
function otherTheme() {
  const now = document.documentElement.dataset.theme;
  localStorage.setItem('tallow.theme', now === 'dark' ? 'light' : 'dark');
  theme();
  show();
}

function show() {
  open?.end?.();
  open = null;
  const at = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  if (at.p && projects.some((p) => p.path === at.p)) project = at.p;
  const name = VIEWS[at.v] ? at.v : 'runs';
  document.title = `${TABS.find(([id]) => id === name)?.[1] ?? at.id ?? 'Compare'} \u00b7 Tallow`;
  fill(document.getElementById('nav'), TABS.map(([id, title, key]) => h('a', { href: address({ v: id }),
    title: `${title} (${key})`,
    'aria-current': id === name || (id === 'runs' && (name === 'run' || name === 'compare')) ? 'page' : null },
  title)));
  document.getElementById('home').href = address({ v: 'runs' });
  fill(document.getElementById('project'), projects.map((p) => h('option', { value: p.path, title: p.path,
    selected: p.path === project }, p.name)));
  if (!project) return;
  scrollTo(0, 0);
  open = VIEWS[name].view(main, { ...at, project, go });
}

function help() {
  dialog(h('div', { class: 'stack' }, h('h2', null, 'Keys'),
    h('dl', { class: 'keys' }, KEYS.flatMap(([k, words]) => [h('dt', null, h('kbd', null, k)), h('dd', null, words)])),
    h('div', { class: 'row' }, h('button', { type: 'button', autofocus: true, onclick: closeDialog }, 'Close'))));
}

addEventListener('keydown', (e) => {
  if (e.ctrlKey || e.metaKey || e.altKey || e.defaultPrevented) return;
  if (document.getElementById('dialog').open) return;
  const { target } = e;
  if (target.matches?.('input:not([type=checkbox]):not([type=range]), textarea, select')) {
    if (e.key === 'Escape') target.blur();
    return;
  }
  if (e.key === 'Enter' && target.matches?.('a, button')) return;
  const tab = TABS.find(([, , key]) => key === e.key);
  const act = tab ? () => go({ v: tab[0] }) : { t: otherTheme, '?': help }[e.key] ?? open?.keys?.[e.key];
  if (!act) return;
  e.preventDefault();
  act();
});

document.getElementById('theme').addEventListener('click', otherTheme);
document.getElementById('help').addEventListener('click', help);
document.getElementById('project').addEventListener('change', (e) => {
  project = e.target.value;
  localStorage.setItem('tallow.project', project);
  go({ v: 'runs' });
});
addEventListener('hashchange', show);
dark.addEventListener('change', () => { theme(); show(); });

async function begin() {
  theme();
  try {
    const got = await get('projects');
    projects = got.projects;
    const kept = localStorage.getItem('tallow.project');
    project = (projects.find((p) => p.path === kept) ?? projects[0])?.path ?? null;
    show();
    if (!project) {
      fill(main, h('div', { class: 'panel' }, empty('No project here', 'Below ', got.roots.join(', '),
        ' there is no folder with config/fine_tuning_config.yaml. ', h('code', null, 'tallow init'), ' makes one.')));
    }
  } catch (fault) {
    fill(main, faultBox(fault, begin));
  }
}
begin();
