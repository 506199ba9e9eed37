// For tests: requests that two readers could understand in two ways, and what ours makes of them. All of the kinds are
// known from real attacks: CL.TE, TE.CL, TE.TE, CL.CL, chunk sizes, line ends, blanks, Host, hop-by-hop.

export interface SmugglingCase {
  readonly name: string;
  readonly bytes: string;
  /** As `readRequests` tells it. */
  readonly expect: readonly string[];
}

const get = (lines: string, line = 'GET /a HTTP/1.1'): string => `${line}\r\n${lines}\r\n`;
const post = (lines: string, body = ''): string => `POST /a HTTP/1.1\r\nHost: h\r\n${lines}\r\n${body}`;
const next = 'GET /next HTTP/1.1\r\nHost: h\r\n\r\n';
const nextLine = 'GET h /next 1.1';
const chunked = 'Transfer-Encoding: chunked\r\n';

/** Refused before anybody sees the request. */
const bad = (name: string, bytes: string, reason: string, status = 400): SmugglingCase => ({
  name,
  bytes: `${bytes}${next}`,
  expect: [`${status} ${reason}`],
});
const good = (name: string, bytes: string, ...expect: string[]): SmugglingCase => ({
  name,
  bytes: `${bytes}${next}`,
  expect: [...expect, nextLine],
});
/** Refused within the body: the request that was open has failed. */
const broken = (name: string, body: string, reason: string): SmugglingCase => ({
  name,
  bytes: `${post(chunked, body)}${next}`,
  expect: [`400 ${reason}`, 'failed protocol'],
});

export const smugglingCorpus: readonly SmugglingCase[] = [
  good('a plain request', get('Host: h\r\n'), 'GET h /a 1.1'),
  good('an empty line before a request', `\r\n${get('Host: h\r\n')}`, 'GET h /a 1.1'),
  bad('two empty lines before a request', `\r\n\r\n${get('Host: h\r\n')}`, 'an invalid method'),

  // Framing by two fields, or by one twice.
  bad(
    'CL.TE',
    post(`Content-Length: 6\r\n${chunked}`, '0\r\n\r\nX'),
    'both Transfer-Encoding and Content-Length',
  ),
  bad(
    'TE.CL',
    post(`${chunked}Content-Length: 3\r\n`, '1\r\nA\r\n0\r\n\r\n'),
    'both Transfer-Encoding and Content-Length',
  ),
  bad('CL.CL, different', post('Content-Length: 0\r\nContent-Length: 5\r\n'), 'more than one Content-Length'),
  bad('CL.CL, equal', post('Content-Length: 5\r\nContent-Length: 5\r\n'), 'more than one Content-Length'),
  bad('CL as a list', post('Content-Length: 5, 5\r\n'), 'an invalid Content-Length'),
  bad('CL with a sign', post('Content-Length: +5\r\n'), 'an invalid Content-Length'),
  bad('CL negative', post('Content-Length: -1\r\n'), 'an invalid Content-Length'),
  bad('CL with a blank inside', post('Content-Length: 1 0\r\n'), 'an invalid Content-Length'),
  bad('CL in hex', post('Content-Length: 0x5\r\n'), 'an invalid Content-Length'),
  bad('CL empty', post('Content-Length:\r\n'), 'an invalid Content-Length'),
  bad('CL with a point', post('Content-Length: 5.0\r\n'), 'an invalid Content-Length'),
  bad('CL above 2^53', post('Content-Length: 9007199254740993\r\n'), 'an invalid Content-Length'),
  bad(
    'CL that overflows 64 bits',
    post('Content-Length: 18446744073709551621\r\n'),
    'an invalid Content-Length',
  ),
  bad('TE twice', post(`${chunked}${chunked}`), 'more than one Transfer-Encoding'),
  bad(
    'TE.TE, second identity',
    post(`${chunked}Transfer-Encoding: identity\r\n`),
    'more than one Transfer-Encoding',
  ),
  bad(
    'TE.TE, first identity',
    post(`Transfer-Encoding: identity\r\n${chunked}`),
    'a Transfer-Encoding other than chunked',
  ),
  bad(
    'TE gzip, chunked',
    post('Transfer-Encoding: gzip, chunked\r\n'),
    'a Transfer-Encoding other than chunked',
  ),
  bad(
    'TE chunked, chunked',
    post('Transfer-Encoding: chunked, chunked\r\n'),
    'a Transfer-Encoding other than chunked',
  ),
  bad('TE xchunked', post('Transfer-Encoding: xchunked\r\n'), 'a Transfer-Encoding other than chunked'),
  bad('TE quoted', post('Transfer-Encoding: "chunked"\r\n'), 'a Transfer-Encoding other than chunked'),
  bad(
    'TE with a parameter',
    post('Transfer-Encoding: chunked;q=1\r\n'),
    'a Transfer-Encoding other than chunked',
  ),
  bad('TE with a vertical tab', post('Transfer-Encoding: \vchunked\r\n'), 'a control byte in a header'),
  bad('TE with a NUL', post('Transfer-Encoding: chunked\0\r\n'), 'a control byte in a header'),
  bad('TE empty', post('Transfer-Encoding:\r\n'), 'a Transfer-Encoding other than chunked'),
  bad('TE with a blank before the colon', post('Transfer-Encoding : chunked\r\n'), 'a blank before a colon'),
  bad('TE with a tab before the colon', post('Transfer-Encoding\t: chunked\r\n'), 'a blank before a colon'),
  bad('TE folded', post('Transfer-Encoding:\r\n chunked\r\n'), 'a Transfer-Encoding other than chunked'),
  bad(
    'a folded header',
    post('X: a\r\n Transfer-Encoding: chunked\r\n'),
    'a folded header or a blank before one',
  ),
  bad('TE after a bare LF', post('X: a\nTransfer-Encoding: chunked\r\n'), 'a bare LF'),
  bad('TE after a bare CR', post('X: a\rTransfer-Encoding: chunked\r\n'), 'a bare CR'),
  bad('TE in HTTP/1.0', get(`Host: h\r\n${chunked}`, 'POST /a HTTP/1.0'), 'Transfer-Encoding in HTTP/1.0'),
  good(
    'TE in capitals',
    post('TRANSFER-ENCODING: CHUNKED\r\n', '1\r\nA\r\n0\r\n\r\n'),
    'POST h /a 1.1 body=A',
  ),
  good('CL with blanks around', post('Content-Length:  \t3 \r\n', 'abc'), 'POST h /a 1.1 body=abc'),
  good(
    'an underscore is another name',
    post('Content_Length: 3\r\n'),
    'POST h /a 1.1 ["content_length","3"]',
  ),

  // Chunks.
  good(
    'chunks',
    post(chunked, '3\r\nabc\r\nA;x="y"\r\n0123456789\r\n0\r\n\r\n'),
    'POST h /a 1.1 body=abc0123456789',
  ),
  good(
    'trailers',
    post(chunked, '0\r\nX-Sum: 1\r\nHost: evil\r\nAuthorization: b\r\n\r\n'),
    'POST h /a 1.1 trailers=["x-sum","1"]',
  ),
  broken('a size with 0x', '0x3\r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('a size with a sign', '+3\r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('a size with a blank before', ' 3\r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('a size with a blank behind', '3 \r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('an empty size', '\r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('a size that overflows', '10000000000000003\r\nabc', 'a chunk size that is too long'),
  broken('a size with a bare LF', '3\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken('a size with a bare CR', '3\rXabc\r\n0\r\n\r\n', 'a chunk size without CRLF'),
  broken('a LF in an extension', '3;a\nabc\r\n0\r\n\r\n', 'an invalid byte in a chunk extension'),
  broken('a blank before an extension', '3 ;a\r\nabc\r\n0\r\n\r\n', 'an invalid chunk size'),
  broken(
    'data longer than the size',
    '3\r\nabcd\r\n0\r\n\r\n',
    'a chunk that does not end where its size says',
  ),
  broken('data ended by a bare LF', '3\r\nabc\n0\r\n\r\n', 'a chunk that does not end where its size says'),
  broken(
    'data ended by CR and another byte',
    '3\r\nabc\rX0\r\n\r\n',
    'a chunk that does not end where its size says',
  ),
  broken('a bare LF in the trailers', '0\r\nX: a\nY: b\r\n\r\n', 'in the trailers: a bare LF'),
  broken('a bare LF instead of trailers', '0\r\n\nGET', 'in the trailers: a bare LF'),
  broken(
    'a folded trailer',
    '0\r\nX: a\r\n b\r\n\r\n',
    'in the trailers: a folded header or a blank before one',
  ),

  // Lines.
  bad('bare LFs', 'GET /a HTTP/1.1\nHost: h\n\n', 'an invalid end of the request line'),
  bad('a bare LF behind a header', 'GET /a HTTP/1.1\r\nHost: h\n\r\n', 'a bare LF'),
  bad('CR CR LF', 'GET /a HTTP/1.1\r\nHost: h\r\r\n\r\n', 'a bare CR'),
  bad(
    'a blank before the first header',
    'GET /a HTTP/1.1\r\n Host: h\r\n\r\n',
    'a folded header or a blank before one',
  ),
  bad('a line without a colon', get('Host: h\r\nX\r\n'), 'an invalid byte in the name of a header'),
  bad('a header without a name', get('Host: h\r\n: x\r\n'), 'a header without a name'),
  bad('a high byte in a name', get('Host: h\r\nX\xff: x\r\n'), 'an invalid byte in the name of a header'),
  bad('a NUL in a value', get('Host: h\r\nX: a\0b\r\n'), 'a control byte in a header'),
  bad('DEL in a value', get('Host: h\r\nX: a\x7fb\r\n'), 'a control byte in a header'),
  good('obs-text in a value', get('Host: h\r\nX: \xe9\r\n'), 'GET h /a 1.1 ["x","\xe9"]'),
  good('an empty value', get('Host: h\r\nX:\r\n'), 'GET h /a 1.1 ["x",""]'),
  bad('two blanks in the line', 'GET  /a HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid request target'),
  bad('two blanks before the version', 'GET /a  HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid request line'),
  bad('a tab in the line', 'GET\t/a HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid method'),
  bad(
    'a blank behind the version',
    'GET /a HTTP/1.1 \r\nHost: h\r\n\r\n',
    'an invalid end of the request line',
  ),
  bad('a blank before the method', ' GET /a HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid method'),
  bad('HTTP/0.9', 'GET /a\r\n\r\n', 'an invalid request target'),
  bad('a blank in the target', 'GET /a b HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid request line'),
  bad('a high byte in the target', 'GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n', 'an invalid request target'),
  bad('a method in lower case', get('Host: h\r\n', 'get /a HTTP/1.1'), 'a method that is not upper case'),
  bad('a method that is no token', get('Host: h\r\n', 'GE(T /a HTTP/1.1'), 'an invalid method'),
  bad('HTTP/2.0', get('Host: h\r\n', 'GET /a HTTP/2.0'), 'a version of HTTP that is not 1.0 or 1.1', 505),
  bad('HTTP/1.2', get('Host: h\r\n', 'GET /a HTTP/1.2'), 'a version of HTTP that is not 1.0 or 1.1', 505),
  bad('HTTP/1.10', get('Host: h\r\n', 'GET /a HTTP/1.10'), 'an invalid end of the request line'),
  bad('http/1.1', get('Host: h\r\n', 'GET /a http/1.1'), 'an invalid request line'),
  bad('CONNECT', get('Host: h\r\n', 'CONNECT h:80 HTTP/1.1'), 'CONNECT is not served', 405),

  // Host and target.
  bad('no Host', get(''), 'no Host'),
  bad('two Hosts', get('Host: h\r\nHost: h\r\n'), 'more than one Host'),
  bad('an empty Host', get('Host:\r\n'), 'the host is empty'),
  bad('a Host with userinfo', get('Host: a@h\r\n'), 'the host has userinfo'),
  bad('a Host with a slash', get('Host: h/x\r\n'), 'the host has an invalid character'),
  bad('a Host that is a list', get('Host: a, b\r\n'), 'the host has an invalid character'),
  bad(
    'a target for another host',
    get('Host: h\r\n', 'GET http://evil/a HTTP/1.1'),
    'Host differs from the request target',
  ),
  good('a target for the same host', get('Host: h\r\n', 'GET HTTP://H/a?b HTTP/1.1'), 'GET h /a?b 1.1'),
  good('a target without a path', get('Host: h\r\n', 'GET http://h?b HTTP/1.1'), 'GET h /?b 1.1'),
  bad('a target with userinfo', get('Host: h\r\n', 'GET http://h@h/a HTTP/1.1'), 'the host has userinfo'),
  bad(
    'a target of another scheme',
    get('Host: h\r\n', 'GET ftp://h/a HTTP/1.1'),
    'the path does not begin with a slash',
  ),
  good('OPTIONS *', get('Host: h\r\n', 'OPTIONS * HTTP/1.1'), 'OPTIONS h * 1.1'),
  bad('GET *', get('Host: h\r\n', 'GET * HTTP/1.1'), 'the path does not begin with a slash'),
  bad('a fragment', get('Host: h\r\n', 'GET /a#b HTTP/1.1'), 'the target has a fragment'),
  good('dot segments', get('Host: h\r\n', 'GET /x/..%2e/../%61 HTTP/1.1'), 'GET h /x/a 1.1'),

  // What is of the connection.
  good(
    'hop-by-hop fields',
    get(
      'Host: h\r\nConnection: close-not, x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip, trailers\r\nTrailer: x\r\nX-B: 2\r\n',
    ),
    'GET h /a 1.1 ["te","trailers","x-b","2"]',
  ),
  bad(
    'Connection names Authorization',
    get('Host: h\r\nConnection: authorization\r\n'),
    'Connection names authorization',
  ),
  bad(
    'Connection names X-Forwarded-For',
    get('Host: h\r\nConnection: close, X-Forwarded-For\r\n'),
    'Connection names x-forwarded-for',
  ),
  bad('Connection names Host', get('Host: h\r\nConnection: host\r\n'), 'Connection names host'),
  bad('Connection with a blank inside', get('Host: h\r\nConnection: a b\r\n'), 'an invalid Connection'),
  bad('an unknown Expect', get('Host: h\r\nExpect: 200-ok\r\n'), 'an unknown Expect', 417),
  good(
    'an upgrade to h2c is not taken',
    get('Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n'),
    'GET h /a 1.1',
  ),
  good('an upgrade without Connection', get('Host: h\r\nUpgrade: websocket\r\n'), 'GET h /a 1.1'),
  good(
    'an upgrade with a body',
    post('Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n', 'a'),
    'POST h /a 1.1 body=a',
  ),
  good(
    'an upgrade that is refused',
    get('Host: h\r\nConnection: upgrade\r\nUpgrade: WebSocket, h2c\r\n'),
    'GET h /a 1.1 upgrade=websocket',
  ),
  {
    name: 'HTTP/1.0 ends with one request',
    bytes: get('Host: h\r\n', 'GET /a HTTP/1.0') + next,
    expect: ['GET h /a 1.0'],
  },
  good(
    'HTTP/1.0 with keep-alive, without Host',
    get('Connection: keep-alive\r\n', 'GET /a HTTP/1.0'),
    'GET /a 1.0',
  ),
  {
    name: 'Connection: close ends with one request',
    bytes: get('Host: h\r\nConnection: close\r\n') + next,
    expect: ['GET h /a 1.1'],
  },
];
