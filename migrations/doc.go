// Package migrations holds the schema of the shop and changes it while the shop is
// open.
//
// A command applies it (doorbuster migrate up), never a worker: workers only compare
// [Latest] with what the database says and refuse to start on an older schema, in a
// sentence that names both versions. A release goes on working on any newer schema,
// until a contract (below) takes away what it uses.
//
// # Locks
//
// A statement that waits for a lock on a table makes everybody wait who comes after
// it: https://www.postgresql.org/docs/current/explicit-locking.html. So
// [Migrator.Up] gives each statement a lock_timeout of one second. What fails is
// tried again after a pause that grows from one to eight seconds, for
// [Options].Patience together; between two tries nothing is locked. Each pause is
// told with what is waited for, who holds it since when, and how to end that.
//
// The worst case for customers: those who need the table wait for a second, once per
// try, while somebody holds the table for long. A migration that locks two tables
// could hold one while it waits for the other, so the lint does not let it.
//
// A migration without a transaction (NO TRANSACTION) waits for as long as the
// patience lasts. The lint lets it do only what keeps nobody waiting.
//
// Concurrent runs take turns by an advisory lock of the session that does the work:
// of two deploys that migrate at once, one waits and finds nothing left to do.
//
// A migration that is broken off in a transaction has not happened. One without a
// transaction is repeated from its beginning, and the lint wants it to bear that.
//
// # Taking back
//
// [Migrator.Down] takes back the newest migration. It refuses where a table or a
// column with rows in it would be dropped, and where workers are connected whose
// release needs the migration: each worker tells its schema in its connection's
// name ([Announcement]). There is one permission for each danger.
//
// # To change what is there: expand and contract
//
// Old and new workers serve side by side during a reload, and a reload can be taken
// back. So a column is never renamed, retyped or dropped in one go:
//
//  1. Expand. A migration adds the new form beside the old one: a column without a
//     constraint, and a trigger that keeps both forms equal whichever is written.
//     The old release goes on as before.
//  2. Fill. A second migration, without a transaction, copies the rows that were
//     there before, some thousand at a time, each batch a transaction of its own,
//     around the rows that are locked. Constraints of the new form are added as NOT
//     VALID, and validated by a migration of their own.
//  3. Release. The release that has these migrations reads and writes the new form
//     alone: "doorbuster migrate up", then "doorbuster reload". The trigger serves
//     the workers of the release before, and a reload --back.
//  4. Contract. A later release, when no worker of the old one is left, has the
//     migration that drops the trigger and the old form. Its first lines say
//     "-- Contract of 00016: why", by the number of the expansion. "migrate up"
//     refuses it while a worker is connected that does not know schema 16.
//
// The order is always: migrate up, then reload. testdata/rename has the worked
// example; cmd/doorbuster runs it under load with old and new workers side by side.
//
// # The lint
//
// lint_test.go reads all files and has the list of what it refuses, with the reasons.
package migrations
