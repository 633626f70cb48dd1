// Submits what somebody pastes, after showing what each line was resolved to.

import { checkedItem, isFolder, isGood, pathItem, reasonsOf, sumUp, unchecked, withRefusal } from './checked_paths.js';
import { byId, button, el, setText, show } from './dom.js';
import { count, plural, shortId } from './format.js';
import { readPaths } from './path_lines.js';

const MOST_CHECKED = 10_000;
const MOST_SHOWN = 500;

export class SubmitForm {
  // `act` has open(jobId), submitted(answer), needKey() and keyRefused(why).
  constructor(api, session, act) {
    Object.assign(this, { api, session, act });
    this.text = byId('paths');
    this.recursive = byId('recursive');
    this.checkButton = byId('check');
    this.sendButton = byId('send');
    this.result = byId('submit-result');
    this.list = byId('resolved');
    this.checked = this.answered = null;
    byId('submit-form').addEventListener('submit', (event) => { event.preventDefault(); this.check(); });
    this.sendButton.addEventListener('click', () => this.send());
    this.text.addEventListener('input', () => this.forgetCheck());
    // What was refused for the one may be taken with the other.
    this.recursive.addEventListener('change', () => this.checked && this.showChecked(this.answered, ''));
    this.text.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) this.check();
    });
  }

  async check() {
    const paths = readPaths(this.text.value);
    if (paths.length === 0) return this.say('problem', 'Paste at least one path.');
    if (this.session.key === null) {
      this.say('problem', 'Caching needs the API key.');
      return this.act.needKey();
    }
    if (paths.length > MOST_CHECKED) {
      return this.showAnswer(paths.map(unchecked), `More than ${count(MOST_CHECKED)} paths are not checked one by one.`);
    }
    await this.busy(async () => this.showAnswer(...(await this.resolve(paths))));
    if (!this.sendButton.hidden) this.sendButton.focus();
    return undefined;
  }

  // What each path is; where the gateway cannot say, what it is taken for.
  async resolve(paths) {
    try {
      const answers = await this.api.resolve(paths);
      // What is sent later is what was typed: an answer shortens what is too long.
      return [answers.map((answer, at) => ({ ...answer, path: paths[at] })), ''];
    } catch (error) {
      if (error.status !== 404) throw error;
      return [paths.map(unchecked), 'This gateway cannot check paths: they are sent as they are.'];
    }
  }

  showAnswer(answered, note) {
    this.answered = answered;
    this.showChecked(answered, note);
  }

  showChecked(checked, note) {
    this.checked = checked;
    const good = checked.filter(isGood).length;
    const hasRefused = good < checked.length;
    this.showItems(checked.length > MOST_SHOWN ? checked.toSorted((a, b) => isGood(a) - isGood(b)) : checked, checkedItem);
    show(this.sendButton, good > 0);
    setText(this.sendButton, hasRefused ? `Cache the other ${count(good)}` : 'Cache these');
    this.say(hasRefused ? 'problem' : 'fine', note, sumUp(checked));
  }

  showItems(items, make) {
    this.list.replaceChildren(...items.slice(0, MOST_SHOWN).map(make));
    if (items.length > MOST_SHOWN) this.list.append(el('li', {}, `and ${count(items.length - MOST_SHOWN)} more`));
    show(this.list, items.length > 0);
  }

  async send() {
    const good = (this.checked ?? []).filter(isGood);
    const names = (items) => items.map(({ path }) => path);
    const folders = names(good.filter(isFolder));
    const files = names(good.filter((it) => !isFolder(it)));
    await this.busy(async () => this.sent(await this.api.submit(files, folders, this.recursive.checked)));
  }

  sent(answer) {
    this.text.value = '';
    this.forgetCheck();
    this.act.submitted(answer);
    const { jobId, totalFiles, totalSize, unindexed = [] } = answer;
    this.say('fine', `Job ${shortId(jobId)}: ${plural(totalFiles, 'file')}, ${totalSize.readable}. `);
    this.result.firstChild.append(button('Show it', { class: 'link' }, () => this.act.open(jobId)));
    const why = 'not in the index: read all the same';
    this.showItems(unindexed, (path) => pathItem(path, why, 'unsure'));
    this.text.focus();
  }

  async busy(act) {
    this.checkButton.disabled = this.sendButton.disabled = true;
    try {
      await act();
    } catch (error) {
      this.fail(error);
    }
    this.checkButton.disabled = this.sendButton.disabled = false;
  }

  fail(error) {
    if (error.status === undefined) throw error;
    const before = this.checked ?? [];
    const after = withRefusal(before, error);
    if (after.some((it, at) => it !== before[at])) this.showChecked(after, `Nothing is cached. ${error.sentence}.`);
    else this.showRefusal(error);
    if (error.status === 401) this.act.keyRefused(error.message);
  }

  // A refusal that names none of the paths: what was checked stays as it is.
  showRefusal(error) {
    const reasons = [...reasonsOf(error)];
    this.say('problem', error.sentence);
    if (reasons.length > 0) this.showItems(reasons, ([path, reason]) => pathItem(path, reason, 'refused'));
  }

  forgetCheck() {
    this.checked = null;
    show(this.sendButton, false);
    show(this.list, false);
    this.result.replaceChildren();
  }

  say(kind, ...sentences) {
    this.result.replaceChildren(...sentences.filter(Boolean).map((words) => el('p', { class: kind }, words)));
  }
}
