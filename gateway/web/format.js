// Figures as people read them. Sizes are powers of 1024, as everywhere in the gateway.

const UNITS = ['B', 'KB', 'MB', 'GB', 'TB', 'PB'];
const NUMBER = new Intl.NumberFormat('en');
const CLOCK = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

export const MIB = 1024 * 1024;
export const NOTHING = '–';

export function count(number) {
  return NUMBER.format(number);
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function size(bytes) {
  let value = bytes;
  let exponent = 0;
  while (value >= 1023.95 && exponent < UNITS.length - 1) {
    value /= 1024;
    exponent += 1;
  }
  return exponent === 0 ? `${bytes} B` : `${significant(value)} ${UNITS[exponent]}`;
}

// Bytes a second.
export function speed(rate) {
  return rate === null ? NOTHING : `${size(Math.round(rate))}/s`;
}

// MiB a second, as samples measure it.
export function rate(mibps) {
  return speed(mibps * MIB);
}

// The same on an axis, where there is little room.
export function shortRate(mibps) {
  return mibps === 0 ? '0' : size(Math.round(mibps * MIB)).replace('.0 ', ' ');
}

// The MiB of the unit that `shortRate` writes so much in.
export function unitOfRate(mibps) {
  return mibps > 1000 ? 1024 : 1;
}

export function milliseconds(value) {
  return `${count(Math.round(value))} ms`;
}

// Seconds as the two largest units say it: 42 s, 3 min 20 s, 2 h 05 min, 3 d 4 h.
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor(whole / 60) % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

// An age: of what matters is the largest unit.
export function age(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

export function clock(time) {
  return CLOCK.format(time);
}

export function moment(time) {
  return DAY.format(time);
}

export function shortId(id) {
  return id.slice(0, 8);
}

function significant(value) {
  return value.toFixed(value >= 1000 ? 0 : 1);
}

function pad(number) {
  return String(number).padStart(2, '0');
}
