// Entry point of the CNI plugin `aura-cni` (also under the name `istio-cni`). Started by the container runtime once
// per pod and command, so it loads as little as it can.
import { runPlugin } from './plugin.ts';

/** A configuration with a large prevResult has some kilobytes. */
const maxStdin = 4 * 1024 * 1024;

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxStdin) throw new Error(`the network configuration is larger than ${maxStdin} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

const answer = await runPlugin({
  env: process.env,
  stdin: readStdin,
  stderr: (text) => process.stderr.write(text),
  sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
});
process.exitCode = answer.exitCode;
if (answer.stdout !== '') process.stdout.write(`${answer.stdout}\n`);
