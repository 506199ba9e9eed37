// HTTP to the node agent over its unix sockets.
import { request } from 'node:http';

export interface AgentAnswer {
  readonly status: number;
  readonly body: string;
}

const maxAnswer = 16 * 1024;

/** Posts to a unix socket. Rejects if nobody listens there, or nothing is answered in time. */
export function postToAgent(
  socketPath: string,
  path: string,
  body: string,
  timeoutMs: number,
): Promise<AgentAnswer> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        socketPath,
        path,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
        agent: false,
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          if (text.length < maxAnswer) text += chunk;
        });
        response.on('end', () => {
          clearTimeout(timer);
          resolve({ status: response.statusCode ?? 0, body: text.slice(0, maxAnswer) });
        });
        response.on('error', reject);
      },
    );
    const timer = setTimeout(() => call.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    call.on('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    call.end(body);
  });
}
