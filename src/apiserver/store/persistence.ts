// The objects on disk: one SQLite database in WAL mode, written in the same turn in which a client is answered.
//
// What survives: a write that was acknowledged is in the kernel's hands, so the death of this process (SIGKILL
// included) loses nothing. With synchronous=NORMAL a loss of power may lose the last moments, but never leaves a
// broken database; pass `sync: 'full'` where that matters more than speed.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { Checkpointer } from './checkpointer.ts';

export interface Row {
  readonly id: number;
  readonly collection: string;
  readonly rv: number;
  readonly json: string;
}

export interface PersistenceOptions {
  /** The directory; the database is `objects.db` in it. */
  readonly dir: string;
  readonly sync?: 'normal' | 'full';
}

/** About what a small write adds to the log. */
const pageSize = 4096;

export class Persistence implements Disposable {
  readonly #db: DatabaseSync;
  readonly #lock: DatabaseSync;
  readonly #checkpointer: Checkpointer;
  readonly #insert: StatementSync;
  readonly #update: StatementSync;
  readonly #delete: StatementSync;
  readonly #setRevision: StatementSync;

  constructor(options: PersistenceOptions) {
    mkdirSync(options.dir, { recursive: true, mode: 0o700 });
    const file = join(options.dir, 'objects.db');
    // Two servers on one directory would each answer from their own memory. The lock ends with the process; it is a
    // file of its own, since the checkpointer needs a second connection to the objects.
    this.#lock = new DatabaseSync(join(options.dir, 'lock.db'));
    try {
      this.#lock.exec('BEGIN EXCLUSIVE');
    } catch (error) {
      this.#lock.close();
      throw new Error(`${options.dir} is in use: another API server runs with this data directory`, {
        cause: error,
      });
    }
    this.#db = new DatabaseSync(file);
    try {
      this.#db.exec('PRAGMA journal_mode=WAL');
      this.#db.exec(`PRAGMA synchronous=${options.sync === 'full' ? 'FULL' : 'NORMAL'}`);
      this.#db.exec('PRAGMA wal_autocheckpoint=0');
      this.#db.exec('PRAGMA busy_timeout=5000');
      this.#db.exec('PRAGMA journal_size_limit=67108864');
      this.#db.exec('PRAGMA cache_size=-16384');
      this.#db.exec(`
        CREATE TABLE IF NOT EXISTS objects(id INTEGER PRIMARY KEY, collection TEXT NOT NULL, rv INTEGER NOT NULL, json TEXT NOT NULL) STRICT;
        CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        INSERT OR IGNORE INTO meta VALUES ('revision', 0), ('format', 1);
      `);
    } catch (error) {
      this.#db.close();
      this.#lock.close();
      throw new Error(`${file} cannot be opened: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
    this.#checkpointer = new Checkpointer(file, () => this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)'));
    this.#insert = this.#db.prepare('INSERT INTO objects(collection, rv, json) VALUES (?, ?, ?)');
    this.#update = this.#db.prepare('UPDATE objects SET rv = ?, json = ? WHERE id = ?');
    this.#delete = this.#db.prepare('DELETE FROM objects WHERE id = ?');
    this.#setRevision = this.#db.prepare("UPDATE meta SET value = ? WHERE key = 'revision'");
  }

  /** The highest revision that was ever given out. */
  revision(): number {
    const row = this.#db
      .prepare(
        "SELECT max(coalesce((SELECT max(rv) FROM objects), 0), (SELECT value FROM meta WHERE key = 'revision')) AS revision",
      )
      .get() as { revision: number };
    return row.revision;
  }

  *load(): Generator<Row> {
    for (const row of this.#db.prepare('SELECT id, collection, rv, json FROM objects').iterate())
      yield row as unknown as Row;
  }

  /** Gives the row's id. */
  insert(collection: string, rv: number, json: string): number {
    const { lastInsertRowid } = this.#insert.run(collection, rv, json);
    this.#checkpointer.wrote(json.length);
    return Number(lastInsertRowid);
  }

  update(id: number, rv: number, json: string): void {
    this.#update.run(rv, json, id);
    this.#checkpointer.wrote(json.length);
  }

  /** The revision of a removal is in no row, so it is kept apart, in the same transaction. */
  remove(id: number, rv: number): void {
    this.#db.exec('BEGIN');
    try {
      this.#delete.run(id);
      this.#setRevision.run(rv);
      this.#db.exec('COMMIT');
      this.#checkpointer.wrote(pageSize);
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#checkpointer[Symbol.dispose]();
    this.#db.close();
    this.#lock.close();
  }
}
