// Package limit decides who asks too often. It owns the Redis keys limit:*.
//
// # Quotas
//
// A [Quota] of 30/1m lets 30 units through at once, and 30 more in each minute,
// evenly. So never more than 30 + t/2s units pass in a time t, from one key, on
// all workers of all hosts together. It is the generic cell rate algorithm
// (ITU-T I.371, annex A): one number for each key, the theoretical arrival
// time, at which the bucket would be full again. A request may cost several
// units.
//
// One decision takes charges of several keys, such as a session and an address.
// Either all of them are charged or none is: what is refused costs nobody
// anything, so somebody who is refused by one key can't use up another, which
// others share.
//
// # One round trip
//
// The decision is one Lua script (gcra.lua), so it is atomic. While one call is
// in Redis the decisions that arrive wait, and the next call takes all of them,
// as orders are committed in groups: a crowd costs less than a round trip each.
// A key that was refused is remembered for at most a second, so that a flood is
// refused from memory.
//
// The clock is that of Redis (TIME), not the caller's: hosts whose clocks
// differ by a second would each grant what the other has taken already. All
// keys of a call must live in one Redis: the script is not for Redis Cluster.
//
// It is a script of ours and not a library, since redis_rate (10.0.1, April
// 2023) and throttled (2.15) take one key for each round trip, and charge the
// first of two keys where the second one refuses.
//
// # Redis away
//
// A limit protects the shop and must not close it. A decision waits for Redis
// for 25 ms ([Config].Timeout) at most. One that gets no answer is taken by
// this process alone, by its share: the quota divided by the number of workers,
// at least one unit, and at least the charge's [Charge.Floor]. So are all after
// it, without asking, until a write of its own has come back from Redis: that
// is tried every quarter of a second, on nobody's time.
//
// The floor is for quotas of one person. All requests of a browser come over
// few connections, so to few workers, and on 64 of them a share would refuse an
// honest customer after a sixty-fourth of the quota.
//
// The worst case. Redis away: each worker knows only of itself, so N workers
// let through what they would together with Redis, once more for what Redis had
// counted before, and more than that by the rounding up of shares. Without a
// floor, an attacker who spreads evenly gains at most a factor of two for one
// window, and N-1 units; with a floor of F units, N workers let through N x F
// units in a window where that is more than the quota. Somebody who happens to
// reach one worker only has 1/N of the quota, or F units. More keys at once
// than localKeys (65,536) push the oldest out, which forgets what they have
// used. Redis slow: 25 ms for those who are waiting at that moment. Nobody is
// ever refused for the sake of Redis.
package limit
