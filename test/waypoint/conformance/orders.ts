// What the program in a client's pod is asked to do, and what it answers.

export interface Order {
  readonly url: string;
  /** Default `http1`: a connection for each order. `h2c`: HTTP/2 with prior knowledge. `grpc`: the path is the method. `tls`: the header `host` is the name asked for. */
  readonly protocol?: 'http1' | 'h2c' | 'grpc' | 'websocket' | 'tcp' | 'tls';
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** That many times, over a few connections. */
  readonly count?: number;
}

export interface Answer {
  /** Of HTTP, or of gRPC; -1: there was no answer, and `body` says why. */
  readonly status: number;
  /** By lower-case name; several of one name joined with `, `. Of gRPC: the metadata. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}
