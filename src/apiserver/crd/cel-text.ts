// Rules as text: what the library's parser does not take is asked in another way.

/** The library's `has` takes only names and dots: `has(self.a[0].b)` is asked in another way. */
export function rewriteHas(rule: string): string {
  let out = '';
  for (let i = 0; i < rule.length;) {
    const quote = rule[i];
    if (quote === '"' || quote === "'") {
      const end = endOfText(rule, i);
      out += rule.slice(i, end);
      i = end;
      continue;
    }
    if (!rule.startsWith('has(', i) || /[A-Za-z0-9_.]/.test(rule[i - 1] ?? ' ')) {
      out += rule[i++];
      continue;
    }
    const close = closing(rule, i + 3);
    const inner = rule.slice(i + 4, close);
    const dot = inner.lastIndexOf('.');
    const base = inner.slice(0, dot);
    const field = inner.slice(dot + 1).trim();
    out +=
      dot > 0 && /[[(]/.test(base) && /^[A-Za-z_][A-Za-z0-9_]*$/.test(field)
        ? `hasField(${rewriteHas(base)}, "${field}")`
        : `has(${inner})`;
    i = close + 1;
  }
  return out;
}

/** The index after the string that begins at `start`; knows raw and triple-quoted ones. */
function endOfText(rule: string, start: number): number {
  const raw = /[rR]$/.test(rule.slice(Math.max(0, start - 1), start));
  const quote = rule[start] as string;
  const mark = rule.startsWith(quote.repeat(3), start) ? quote.repeat(3) : quote;
  for (let i = start + mark.length; i < rule.length; i++) {
    if (rule[i] === '\\' && !raw) i++;
    else if (rule.startsWith(mark, i)) return i + mark.length;
  }
  return rule.length;
}

/** The index of the parenthesis that closes the one at `open`. */
function closing(rule: string, open: number): number {
  let depth = 0;
  for (let i = open; i < rule.length; i++) {
    const char = rule[i];
    if (char === '"' || char === "'") i = endOfText(rule, i) - 1;
    else if (char === '(') depth++;
    else if (char === ')' && --depth === 0) return i;
  }
  return rule.length;
}
