// Copies a text to the clipboard.

import { button, setText } from './dom.js';

const SAID_MS = 3000;

// `node`: the element that shows the text, which is selected where the clipboard is out of reach.
export function copyButton(label, node) {
  let waiting = null;
  const made = button(label, { class: 'quiet small', 'aria-live': 'polite' }, async () => {
    setText(made, (await copy(node)) ? 'Copied' : 'Selected: press Ctrl+C');
    clearTimeout(waiting);
    waiting = setTimeout(() => setText(made, label), SAID_MS);
  });
  setText(made, label);
  return made;
}

// Browsers give the clipboard to pages from HTTPS or this machine alone; the older way works
// everywhere, and needs a selection.
async function copy(node) {
  try {
    await navigator.clipboard.writeText(node.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(node);
    return document.execCommand('copy');
  }
}
