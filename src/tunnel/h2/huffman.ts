// The Huffman code of HPACK (RFC 7541, appendix B). The code is canonical, so the lengths alone define it.

// prettier-ignore
const codeLengths: readonly number[] = [
  13,23,28,28,28,28,28,28,28,24,30,28,28,30,28,28,28,28,28,28,28,28,30,28,28,28,28,28,28,28,28,28,
  6,10,10,12,13,6,8,11,10,10,8,11,8,6,6,6,5,5,5,6,6,6,6,6,6,6,7,8,15,6,12,10,13,6,7,7,7,7,7,7,7,7,7,7,7,7,7,7,
  7,7,7,7,7,7,7,7,8,7,8,13,19,13,14,6,15,5,6,5,6,5,6,6,6,5,7,7,6,6,6,5,6,7,6,5,5,6,7,7,7,7,7,15,11,14,13,28,
  20,22,20,20,22,22,22,23,22,23,23,23,23,23,24,23,24,24,22,23,24,23,23,23,23,21,22,23,22,23,23,24,22,21,20,22,
  22,23,23,21,23,22,22,24,21,22,23,23,21,21,22,21,23,22,23,23,20,22,22,22,23,22,22,23,26,26,20,19,22,23,22,25,
  26,26,26,27,27,26,24,25,19,21,26,27,27,26,27,24,21,21,26,26,28,27,27,27,20,24,20,21,22,21,21,23,22,22,25,25,
  24,24,26,23,26,27,26,26,27,27,27,27,27,28,27,27,27,27,27,26,30,
];

const endOfString = 256;

/** A binary tree in an array: node n has children at 2n and 2n+1; a value below 0 is the symbol −1−value. */
const tree: Int16Array = buildTree();

function buildTree(): Int16Array {
  const nodes: number[] = [0, 0];
  const symbols = codeLengths.map((_, symbol) => symbol);
  symbols.sort((a, b) => (codeLengths[a] as number) - (codeLengths[b] as number) || a - b);
  let code = 0;
  let length = 0;
  for (const symbol of symbols) {
    const own = codeLengths[symbol] as number;
    code <<= own - length;
    length = own;
    let node = 0;
    for (let bit = own - 1; bit > 0; bit--) {
      const at = 2 * node + ((code >>> bit) & 1);
      if (nodes[at] === 0) {
        nodes[at] = nodes.length / 2;
        nodes.push(0, 0);
      }
      node = nodes[at] as number;
    }
    nodes[2 * node + (code & 1)] = -1 - symbol;
    code++;
  }
  return Int16Array.from(nodes);
}

/** Nodes by their number in `steps`: a node that a code passes through has one. */
const nodeCount = tree.length / 2;
/** What a step of four bits from a node does: the node where it ends, and the symbol that it met, if any. */
const emits = 0x100;
const fails = 0x200;
const steps: Uint32Array = buildSteps();
/** Nodes where a string may end: less than a byte of ones from the last symbol (RFC 7541, 5.2). */
const mayEnd: Uint8Array = new Uint8Array(nodeCount);
for (let node = 0, depth = 0; depth < 8; depth++) {
  mayEnd[node] = 1;
  node = tree[2 * node + 1] as number;
}

function buildSteps(): Uint32Array {
  const table = new Uint32Array(nodeCount * 16);
  for (let start = 0; start < nodeCount; start++)
    for (let nibble = 0; nibble < 16; nibble++) {
      let node = start;
      let step = 0;
      for (let bit = 3; bit >= 0; bit--) {
        const next = tree[2 * node + ((nibble >>> bit) & 1)] as number;
        if (next >= 0) {
          node = next;
          continue;
        }
        const symbol = -1 - next;
        step |= symbol === endOfString ? fails : emits | (symbol << 16);
        node = 0;
      }
      table[start * 16 + nibble] = step | node;
    }
  return table;
}

/** Decodes to one byte per symbol. Undefined if the padding or a code is not valid (RFC 7541, 5.2). */
export function huffmanDecode(bytes: Uint8Array): Buffer | undefined {
  const out = Buffer.allocUnsafe(Math.floor((bytes.length * 8) / 5));
  let length = 0;
  let node = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] as number;
    const high = steps[node * 16 + (byte >>> 4)] as number;
    if ((high & emits) !== 0) out[length++] = high >>> 16;
    const low = steps[(high & 0xff) * 16 + (byte & 15)] as number;
    if ((low & emits) !== 0) out[length++] = low >>> 16;
    if (((high | low) & fails) !== 0) return undefined;
    node = low & 0xff;
  }
  return mayEnd[node] === 1 ? out.subarray(0, length) : undefined;
}
