// Package devstack runs a private PostgreSQL and a private Redis, for "doorbuster dev" and for tests.
//
// # What it starts
//
// PostgreSQL comes from the binaries on the machine: on PATH, where pg_config says, or in the usual places of
// Debian, Fedora, Homebrew and Postgres.app. Where there are none of version 13 or newer, they are downloaded once
// into the user's cache directory. Redis is redis-server or valkey-server from PATH; where there is neither,
// miniredis serves from this process. [Redis.Kind] says which it is.
//
// Both listen where nobody else can be: PostgreSQL and Redis on Unix sockets in directories of mode 0700 (so a
// taken port 5432 or 6379 does not matter, and trust authentication is safe), miniredis on a free port of the
// loopback address.
//
// # Where things live
//
//	Dir/postgres/data  the cluster                  Dir/redis/appendonlydir  what Redis remembers
//	Dir/postgres/log   what the server says         Dir/redis/log
//	Dir/postgres/s     its socket                   Dir/redis/s
//	Dir/postgres/lock  held while in use            Dir/redis/lock
//	Dir/postgres/pid   of the server                Dir/redis/pid
//
// Without Options.Dir each server has such a directory of its own under the system's temporary one. A socket's
// path must fit in 103 bytes (sun_path, on the strictest system), so under a long Dir, or one with a comma, the sockets go to /tmp.
//
// PostgreSQL refuses to run as root. Under root both servers therefore run as whoever owns the kept data, else as
// "postgres", else as "nobody". That user can enter the directories that are made, whatever the umask, and where it
// can't enter the system's temporary directory (pam_tmpdir) /tmp takes its place.
//
// # What is guaranteed
//
//   - Start returns servers that answer, or an error and nothing left behind.
//   - The URL of a server stays the same through Stop, Kill and Start.
//   - After Close no process of the server is left, nor its temporary directory. Kept data stays.
//   - Each server has a process group of its own, so Ctrl-C in a terminal reaches the parent alone, which stops
//     things in its own order.
//   - On Linux the servers die with the parent, even when it is killed by SIGKILL. Its temporary directories are
//     then removed by the next Start of anyone under the same account. On other systems an orphan stays until it
//     is stopped by hand, and a kept Dir it runs on is refused by name of its pid.
//   - One Dir is used by one process at a time; the second is told the pid of the first.
package devstack
