// Paths as the gateway has looked them up: what to say of each and of all, and which a submit refused.

import { el } from './dom.js';
import { count, plural, size } from './format.js';
import { looksLikeFolder } from './path_lines.js';

// A path that nobody has looked up.
export function unchecked(path) {
  return { path, resolved: null, type: null, size: null, error: null, isUnchecked: true };
}

export function isGood({ error }) {
  return !error;
}

export function isFolder({ type, path }) {
  return type ? type === 'directory' : looksLikeFolder(path);
}

// How many can be cached, as far as anybody knows, and how many not.
export function sumUp(checked) {
  const good = checked.filter(isGood);
  const refused = checked.length - good.length;
  const sums = [sumUpGood(good), refused > 0 ? `${plural(refused, 'path')} refused.` : ''];
  return sums.filter(Boolean).join(' ');
}

function sumUpGood(good) {
  const unasked = good.filter(({ isUnchecked }) => isUnchecked).length;
  if (unasked > 0) return `${plural(unasked, 'path')} not looked up.`;
  const known = good.filter(({ type }) => type).length;
  const unknown = good.length - known;
  if (unknown === 0) return known > 0 ? `${plural(known, 'path')} can be cached.` : '';
  return `${count(known)} known, ${count(unknown)} unknown to the index (${unknown === 1 ? 'it is' : 'they are'} tried).`;
}

// The paths after a submit was refused: those that the refusal names have its reason. Whatever
// leads to the same place as one of them is refused with it.
export function withRefusal(checked, error) {
  const reasons = reasonsOf(error);
  const places = new Map();
  for (const it of checked) if (reasons.has(it.path)) places.set(placeOf(it), reasons.get(it.path));
  return checked.map((it) => (isGood(it) && places.has(placeOf(it)) ? { ...it, error: places.get(placeOf(it)) } : it));
}

function placeOf({ path, filespace, resolved }) {
  return JSON.stringify(typeof resolved === 'string' ? [filespace, resolved] : path);
}

// The details of a refusal by the path that each is of: names alone, names with reasons, or an
// object of both. A name alone is refused for the reason in the sentence, which names the first.
export function reasonsOf({ details, message }) {
  if (details === null || typeof details !== 'object') return new Map();
  if (!Array.isArray(details)) return new Map(Object.entries(details).map(([path, why]) => [path, String(why)]));
  return new Map(details.map((one, at) => {
    if (typeof one !== 'object' || one === null) return [String(one), at === 0 ? message : `For the same reason: ${message}`];
    const { path, error, reason, ...rest } = one;
    return [String(path ?? JSON.stringify(rest)), String(error ?? reason ?? message)];
  }));
}

export function checkedItem(it) {
  const { path, resolved, sendable, filespace, type, size: bytes, indexed, error, isUnchecked } = it;
  if (error) return pathItem(path, [error, blanksOf(path)].filter(Boolean).join(' · '), 'refused');
  if (isUnchecked) return pathItem(path, `sent as a ${isFolder(it) ? 'folder' : 'file'}`, 'unsure');
  const kind = { file: 'File', directory: 'Folder' }[type] ?? `Not known to the index: tried as a ${isFolder(it) ? 'folder' : 'file'}`;
  const words = [kind, bytes === null ? '' : size(bytes), type && !indexed ? 'not in the index yet' : '', blanksOf(path)];
  const place = resolved === '' ? `the whole filespace ${filespace}` : sendable;
  return pathItem(path, `→ ${place} · ${words.filter(Boolean).join(' · ')}`, type ? 'good' : 'unsure');
}

// Seldom meant, and hard to see.
function blanksOf(path) {
  if (path === path.trim()) return '';
  return path === path.trimStart() ? 'ends with a blank' : 'begins with a blank';
}

export function pathItem(path, words, mood) {
  const sign = { good: '✓', unsure: '?', refused: '✕' }[mood];
  return el('li', { class: mood }, el('span', { class: 'sign', 'aria-hidden': true }, sign),
    el('span', { class: 'path' }, path), el('span', { class: 'about' }, words));
}
