// What somebody has pasted, as paths: one a line, in quotes or not.

const QUOTED = /^(["'])(.*)\1$/;

export function readPaths(text) {
  const lines = text.split(/\r\n|\n|\r/).map((line) => line.trim()).filter((line) => line !== '');
  return [...new Set(lines.map((line) => QUOTED.exec(line)?.[2] ?? line))].filter((path) => path !== '');
}

// Whether a path that nobody has looked up is taken for a folder: it ends so, or has no extension.
export function looksLikeFolder(path) {
  if (/[/\\]$/.test(path)) return true;
  const name = path.split(/[/\\]/).at(-1);
  return !/.\.[^.\s]+$/.test(name);
}
