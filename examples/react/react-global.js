// React 18 comes as scripts that set a global, not as modules: this makes a module of it.
export const { createElement, useEffect, useState } = globalThis.React;
