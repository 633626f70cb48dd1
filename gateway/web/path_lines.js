// What somebody has pasted, as paths: one a line, in quotes or not.

// Blanks around quotes belong to no name; all others may.
const QUOTED = /^\s*(["'])(.*)\1\s*$/;

export function readPaths(text) {
  const lines = text.split(/\r\n|\n|\r/).filter((line) => line.trim() !== '');
  return [...new Set(lines.map((line) => QUOTED.exec(line)?.[2] ?? line))].filter((path) => path !== '');
}

// Whether a path that nobody has looked up is taken for a folder: it ends so, or has no extension.
export function looksLikeFolder(path) {
  if (/[/\\]$/.test(path)) return true;
  const name = path.split(/[/\\]/).at(-1).trimEnd();
  return !/.\.[^.\s]+$/.test(name);
}
