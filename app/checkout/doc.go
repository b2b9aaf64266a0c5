// Package checkout turns a cart into an order: never oversold, never charged twice, no acknowledged order lost. It owns
// the tables orders, order_line and payment, and is the only package that ties the other domain packages together.
//
// # Three steps
//
// No lock is ever held while a payment provider thinks:
//
//  1. Place, one transaction: lock the cart, look the idempotency key up, price the cart by the database's clock, take
//     the units, write the order as pending with a hold that expires, empty the cart.
//  2. Pay, no transaction: the gateway captures the total, with the order's id as its idempotency key.
//  3. Settle, one transaction, guarded by the state: captured makes the order confirmed and writes the payment; declined,
//     failed or expired makes it cancelled, and gives back units, allowances, discount and cart lines, once.
//
// The states of an order:
//
//	               captured
//	place ──▶ pending ─────▶ confirmed
//	             │ declined · payment_failed · expired · customer_limit
//	             └─────────▶ cancelled
//
// # Limits per customer
//
// A SKU may be limited per customer. A customer is known by two names: the
// owner of the cart, and the order's e-mail address.
//
// The owner is an account or a guest, which is a browser with a session. Its
// limit is judged in Place. What a guest has counts for the account that it
// becomes at a login; together they may have more than the limit already, and
// then get no more.
//
// The address is a text that anybody can type, and nobody confirms it. A guest
// who clears the cookies is another owner, and the address is what still holds:
// thirty guests at once with one address and a limit of one get one. But a
// refusal at once would tell strangers what somebody has bought. So it is told
// to those alone who have shown that they could pay, and could as well have
// bought: an order whose address has enough is placed like any other, and
// marked ([Order].OverLimit). It is never charged. The provider is asked to
// verify the payment method, which takes as long. Declined, it ends as every
// declined order; accepted, as customer_limit. Its units count for its owner
// while it lasts, and never for the address: nobody is locked out by it. What
// remains is that the till is an oracle to whoever can pay, at the price of an
// order for each address that has bought nothing. An order that costs nothing
// needs no card, and is refused at once.
//
// So an address is worth this: it keeps honest customers to the limit, and
// makes a cheat invent addresses. An owner who wants more sells limited SKUs to
// accounts alone, and confirms their addresses.
//
// A release before migration 11 knows neither mark. While it serves beside this
// one, or after a reload --back, a repeat that reaches it charges an order which
// waits to be verified, and it can't cancel an order of a limited SKU whose
// guest has logged in meanwhile. The audit finds the first. The second stays
// pending until a worker of this release sweeps: so go back only when no such
// order is pending, or go forward again.
//
// # What the customer was shown
//
// What is charged is what the customer was last shown, or less; else the
// checkout is refused with the total of now ([PriceChanged]). That is what the
// request expects or, where it says nothing, the total that the shop has last
// shown for the cart (see package cart), at the time at which Place prices it:
// both edges of a sale and a wait in the queue are in that. The refusal itself
// counts as shown, but not to a repeat with its own key, since it may have been
// lost on its way: such a repeat is refused until somebody has looked at the
// cart. A cart whose total was never shown, as one of an earlier release, is
// charged as it is. Two tabs, or two devices of an account, show one cart, and
// what either was shown counts: a client that minds says what it expects.
//
// # Group commit
//
// Place and Settle each work on many orders in one transaction, and take turns. While one batch is in PostgreSQL, the
// requests that arrive queue up, and the next transaction takes all of them, up to [Config].BatchSize: at midnight one row
// lock and one flush of the log serve dozens of orders, and an idle shop commits batches of one without delay. Within a worker arrival decides
// who gets the last unit: a batch allots in the order of the queue, and the next one begins when it is committed.
//
// One order's trouble is its own. What is sold out, refused by a limit, or has a discount that does not apply is refused
// inside the batch. Where PostgreSQL refuses the transaction for what is in it, or it panics, it is run again in halves, until
// the one at fault is alone.
//
// A row that somebody else holds for long, such as a psql that was left open, is the trouble of the orders that need it. A batch
// waits for its locks for 250 ms, is then run again around the rows that can't be had, and puts their orders off: these go on in
// a lane of their own, with batches, turn and connection apart, and are given up with [ErrBusy] after [Config].LockPatience. Held
// rows are remembered for a second, so that the others pay the 250 ms once a second at the most. A settlement that gives up
// leaves its order pending, and the sweeper settles it.
//
// A request that gives up while it waits was never placed. Once a batch has it, it is answered with what became of it.
//
// # Time limits
//
// [TimeLimit] bounds the whole of a checkout, from the arrival of its request
// to the answer. What remains of it bounds each step:
//
//	step                            its own limit               where the time is over
//	waiting for a place             15 s, package app           503, nothing has happened
//	waiting for a batch of Place    QueueTimeout, 15 s          503, nothing has happened: 7 s before the time is over
//	waiting for a row that is held  LockPatience, 3 s           503, nothing has happened
//	Place, a transaction            TransactionTimeout, 5 s     503, repeat with the same key: there may be an order
//	look-up of a lost COMMIT        2 s                         the same
//	charge                          PaymentTimeout, 3 s         202, pending
//	cancellation after it           PaymentTimeout, 3 s         202, pending
//	waiting for a batch of Settle   QueueTimeout, 15 s          202, pending
//	Settle, a transaction           TransactionTimeout, 5 s     202, pending; it goes on and is most likely confirmed
//
// Whoever ends the context of a request with a cause other than
// [context.Canceled] ends its time: a worker that leaves does so a second
// before the limit of its drain, so that what is in flight is answered. A
// customer who hangs up ends nothing but the wait for a batch. An order that
// stays pending is gone on with by a repeat, and by the sweeper when its hold
// ends.
//
// How many requests wait at once is for the caller to bound; package app has a
// turnstile, whose places are all that can queue here.
//
// # Sold out
//
// What a transaction saw to be gone is remembered for a second ([inventory.Hints]); siblings and other hosts are told. A
// request for it is refused without a transaction, after one look at the carts of all who ask, unless there is an order
// under its key. It is a hint: nobody gets a unit because of it, and a cancelled order takes it back.
//
// What is gone is not sold yet while payments are under way. A refusal says how
// many units those hold, counted at most once in 200 ms, after the refusal and
// apart from the batches.
//
// # Idempotency
//
// The key lives on the order that it made: UNIQUE (owner_id, idempotency_key),
// written by the transaction that writes the order. The lock on the owner's
// cart makes twins of two workers queue; the second finds the first one's
// order, as it does where both are in one batch. A guest's order that an
// account has adopted at login counts as the account's, for a repeat after the
// login. What a repeat is answered follows from the order: confirmed and
// declined orders are replayed, a pending one that somebody is at work on is
// [ErrInFlight], a pending one that nobody is at work on (its worker died, or
// the provider was away) is resumed at step 2. The same key with another
// request is [ErrKeyReused]. An attempt that ended without an order and without
// a charge, refused at Place or cancelled as payment_failed, expired or
// customer_limit, leaves the key free: trying again is what the customer wants.
// Keys are kept as long as orders are.
//
// Whoever asks the provider about an order, a request or a sweeper, holds the order's payment lease (paying_until). That
// spares confusing answers and no more: what keeps the books right, whoever is late, is the fence below.
//
// # When things break
//
// The provider is away: after three orders in a row about which it answered
// neither the charge nor the cancellation, new ones that cost something are
// refused with [ProviderAway] before they take a unit. After
// [Config].ProviderPause, and again after each further pause, the worker asks
// about one of the orders that it has left unknown, by the fence below, under
// its payment lease. Any answer about any order ends the refusals, and settles
// that order. A new order is let through to find out only where the worker
// knows of none that it could ask about. What was let in before, and has not
// asked the provider yet, gives its units back at once. So an outage keeps the
// units of the orders that were at the provider when it began, the places of
// the turnstile before the checkout at the most, however long it lasts; and of
// three more orders for each worker that begins meanwhile.
//
// Leases of orders that end unknown are given back together, a moment after the
// answer: a repeat that comes before is [ErrInFlight].
//
// The provider's answer is missing: the outcome is unknown, so it is asked to cancel. That is a fence (see package payment):
// afterwards the charge is either captured, and the order is confirmed, or impossible, and the order is cancelled. If the
// provider can't be asked even that, the order stays pending and is answered as such; the sweeper goes on asking.
//
// The connection is lost during COMMIT: Place looks the order up on another connection, behind the cart's lock, so that it
// waits for a COMMIT that the server is still at work on. Found, it goes on with step 2; not found, nothing happened. If the
// database can't be asked, the answer is [ErrBusy], which says to repeat with the same key, and not that the order failed.
// Settle is just repeated.
//
// The gateway panics: that too is an unknown outcome.
//
// The worker dies: before COMMIT, nothing happened; after it, the order is pending and its hold expires; the sweeper of
// any worker settles it by the fence. Sweepers share the work by SKIP LOCKED, and each asks about 32
// orders at once. While the provider is away a sweep asks about none.
//
// Locks are taken in one order everywhere: carts by owner, orders by id, discounts by code, stock by SKU,
// whose rows stand for the allowances too. Serialization failures and deadlocks (40001, 40P01) are retried a few times all the same.
package checkout
