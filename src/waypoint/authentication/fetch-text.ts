// A document of the web with limits of time and size.

/** Rejects with an Error that says what was wrong: status, size, time or connection. */
export type FetchText = (
  url: string,
  limits: { readonly timeoutMs: number; readonly maxBytes: number },
) => Promise<string>;

export const fetchText: FetchText = async (url, { timeoutMs, maxBytes }) => {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`${url} answered ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  // Leaving the loop cancels the body.
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > maxBytes) throw new Error(`${url} answered more than ${maxBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
};
