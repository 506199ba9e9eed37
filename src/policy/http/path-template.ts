// Path templates of AuthorizationPolicy: `{*}` is one path element, `{**}` any number of them. Both stand for whole
// elements; `{**}` may be used once, and no operator may follow it (as upstream).

export type PathTest = (path: string) => boolean;

/** Undefined if the template is malformed. */
export function compilePathTemplate(template: string): PathTest | undefined {
  if (!template.startsWith('/')) return undefined;
  const parts = template.slice(1).split('/');
  let rest = -1;
  for (const [i, part] of parts.entries()) {
    if (part === '{*}' || part === '{**}') {
      if (rest >= 0) return undefined;
      if (part === '{**}') rest = i;
    } else if (/[{}*]/.test(part)) return undefined;
  }
  return rest < 0 ? fixedLength(parts) : withRest(parts.slice(0, rest), parts.slice(rest + 1));
}

const partHolds = (wanted: string, part: string): boolean =>
  wanted === '{*}' ? part !== '' : wanted === part;

function fixedLength(parts: readonly string[]): PathTest {
  return (path) => {
    const got = path.slice(1).split('/');
    return got.length === parts.length && parts.every((part, i) => partHolds(part, got[i] as string));
  };
}

/** `{**}` takes zero elements or more; the slash before it stays: `/a/{**}` matches `/a/`, not `/a`. */
function withRest(head: readonly string[], tail: readonly string[]): PathTest {
  return (path) => {
    const got = path.slice(1).split('/');
    // Without a tail the rest is at least the empty element after the slash.
    const least = tail.length === 0 ? 1 : 0;
    if (got.length < head.length + tail.length + least) return false;
    const start = got.length - tail.length;
    return (
      head.every((part, i) => partHolds(part, got[i] as string)) &&
      tail.every((part, i) => partHolds(part, got[start + i] as string))
    );
  };
}
