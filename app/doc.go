// Package app is one worker of the shop: its HTTP edge, and the composition of the domain packages below it.
//
// # The life of a request
//
// [App.edge] names it (X-Request-Id) and answers for panics, and body.go reads
// the body, if there is one, before anything else is done: 16 KiB at most,
// within 5 s, or within 2 s once the worker leaves. Who sends it more slowly is
// told 408, and has held nothing but a connection. routes.go, one screen, sends
// it on:
//
//   - Catalogue reads are plain handlers on an answer cache (answers.go): encoded answers, half a second old at most while
//     PostgreSQL answers, older while it does not. What is not in memory waits at a gate (misses.go), for a second at the
//     most, and is called off when nobody waits for it any more (flight.go); a hit never waits. That there is nothing is
//     remembered for a second. A browser or a shared cache may keep an answer, and has to ask each time whether it still
//     holds (304): the second within which a change is seen is used up here.
//   - Everything that knows its customer passes the cross-origin check and the session middleware, then its limits
//     (limits.go), and is a typed handler: huma validates the input against the OpenAPI schema, the handler asks a domain
//     package and returns a value or an error.
//
// problem.go is the one place where an error becomes an answer and a log line.
//
// # Guests
//
// A visitor becomes a guest, a session without an account, with the first
// addition to a cart. Two first additions at once, without a cookie, make two
// guests, and the browser keeps the cookie of one: a storefront waits for its
// first answer. A guest who logs in or registers takes cart, orders and what
// counts for limits into the account (package checkout); what the account's
// cart has no room for is named in the answer. A guest who logs out ends the
// session and with it the cart, and sees the orders no more.
//
// # The contract
//
// The OpenAPI document is made of the routes and of the types that they take
// and give; document.go adds what all of them have in common: the cookie of the
// session, the headers, and the refusals that every operation of a customer
// (customers) or of a stranger (strangers) can have. openapi.json is the
// document that is served, written down; "make openapi" does so.
//
// problems.go is the table of all codes. The enum in the document, the texts of
// its responses and the page behind the type of a problem (/problems/CODE) are
// made of it. JSON is taken as it was sent or not at all: texts that decoding
// would change (half a surrogate pair, bytes that are not UTF-8) are refused,
// as are unknown fields.
//
// A request that net/http itself refuses is the one that has no such form: 400,
// 417, 431, 501 and 505, before a handler is asked. The document names them.
//
// Whoever does not take an answer is cut by the server that the App runs in:
// see cluster.Server.ResponseRate.
//
// # Before a worker is ready
//
// [App.Warm] reads the front pages, and the products on them, into memory
// (warm.go), within two seconds at the most: a worker that takes over in the
// middle of a crowd does not begin with all of it at PostgreSQL.
//
// # Other origins
//
// There is no CORS: OPTIONS is answered with 405, and a browser lets no page of
// another origin read an answer. The storefront is served from the shop's own
// origin, by a proxy in front of both, so that the session's cookie is a
// first-party one and unsafe requests from elsewhere can be refused (403)
// without a list of who may.
//
// # Limits
//
// All that knows its customer is limited (429, too-many-requests). Reads of the catalogue and the probes are not: from
// memory they cost less than a limit would. A quota of 30/1m is 30 units at once and 30 more in each minute; package limit
// says how they are counted, and what becomes of them without Redis. tunables.go has the quotas, which can be changed
// while the shop is open, and limits.go what each operation costs:
//
//	requests  everything, by cost: of an account; of a guest's session, and its address; of a client and its address
//	          where there is no session
//	guests    sessions and carts of new guests, of a client and its address
//	login     wrong passwords, for an e-mail address, of a client and its address; or of a known browser alone. To register
//	          an address that has an account is to try a password
//	register  new accounts, and attempts at addresses that have one, of a client and its address
//	discount  codes that don't exist, of an account; of a guest, its client and its address
//	declined  payments, and orders that the limit of an e-mail address refuses, as discount
//
// The address is the peer's, or what TRUSTED_PROXIES say that it is; IPv6 counts by /64. A client is an address and the
// User-Agent that somebody says to use there. Its quota is a part of the address's, so an attacker with one program leaves
// the rest to his neighbours. What a limit refuses costs none of the others.
//
// The worst case of each, which must not be a closed shop:
//
//	requests  a guest waits while somebody behind the same address, with many sessions of his own or another User-Agent
//	          each time, uses the address up; an account does not
//	guests    as above, a new visitor waits to fill a cart; those who have one, or an account, do not, and the catalogue
//	          is open to all
//	login     somebody who fails on purpose makes the owner of an e-mail address wait, to log in or to register, but not
//	          in a browser that has logged in to that account within the last week; right passwords are never counted
//	register  new accounts wait; a guest may buy all the same
//	discount  a right code waits together with the wrong ones; the checkout without it does not
//	declined  a guest behind the address of somebody who tries cards, with another User-Agent each time, waits to pay; an
//	          account does not. A repeat of a checkout is refused together with the others then, until the limit lets it
//	          through
//
// What fails through our own fault (5xx) costs no attempt and no new guest; the
// units of requests, which stand for work, stay. While Redis is away, each
// worker lets through a quarter of a person's quota at least (package limit).
//
// No quota can be set so low that what it limits is never allowed. Behind a proxy that TRUSTED_PROXIES does not name,
// all customers would have one address. So where X-Forwarded-For comes from a loopback, private or Unix peer that is not named,
// addresses are not limited, and sessions, accounts and e-mail addresses alone are. The log says so once a minute.
//
// Passwords are hashed within a part of the worker's processor time (package account). Where that is used up, a log-in
// or a registration is answered with 503, busy, at once or after three seconds, and everything else goes on.
//
// # Logging out everywhere
//
// An account's sessions are listed in Redis (sessionindex.go), at log-in and
// log-out alone. A change of the password, and DELETE /v1/sessions, end all
// that are listed; sessions that began under a release without the list end
// after a week at the latest. An account is logged in in 100 browsers at the
// most, and one more log-in ends the oldest.
//
// # Who owns what
//
//	catalog    category, product, sku, sale, sale_price, search_word
//	inventory  stock, stock_receipt, allowance
//	pricing    discount
//	cart       cart, cart_line
//	account    account
//	checkout   orders, order_line, payment; the only package that imports its siblings
//	app        Redis keys session:*, account-sessions:* (in which of them an account is logged in), retention:*
//	limit      Redis keys limit:*
//	payment    Redis keys payment-simulator:* (the books of the simulated provider)
//
// # Who may have which connection
//
// The PostgreSQL connections of a worker are divided among four classes of work (pools.go): the catalogue, customers, the
// checkout's batches, and background work. No class can take what another needs: an order finds a connection while
// strangers search, and a cart while orders queue. The worst case of a class is its own crowd. The catalogue's waits at its
// gate for a second and is then told 503 "busy"; those of customers and of the checkout wait at theirs (turnstile.go). A
// worker with fewer than four connections shares some, in the order of arrival: with three the sweeper waits for a batch,
// with two carts and orders wait for each other, and with one everything does.
//
// # What is kept, and for how long
//
// The carts of guests are removed, with their lines, when nobody has changed
// them for CART_RETENTION, 30 days by default (retention.go). No session
// reaches them any more: it ends a week after it was given, so no shorter
// retention is allowed. Every hour one worker of the shop walks through the
// carts by their owners' ids, in batches of 1,000 with a pause between two, on
// the background connections, and stops at a drain. It waits for nobody and
// nobody waits for it: a cart that somebody holds is passed over. Nothing is
// removed in the first hour of a sale, nor without Redis, which says whose turn
// it is. The worst case is a batch that keeps the sweeper waiting for as long
// as it takes. Metrics shop_retention_* and a log line tell of each run.
//
// An account's cart stays. So do allowances: they count what orders hold, for
// as long as the limit of the SKU means anything, and the audit compares the
// two. Idempotency keys stay with their orders, and orders, payments, receipts
// of stock and what has to be refunded are the books. In Redis, sessions and
// limits expire by themselves; the books of the simulated provider are kept.
//
// [Forget] takes an e-mail address out of all of it.
//
// # What may be away
//
// PostgreSQL is the truth. Redis holds sessions, and counts limits; when it is away, what needs a session answers 503 and the
// catalogue goes on.
// When PostgreSQL is away, the catalogue goes on from memory and the rest answers 503. Neither ends the worker (S4).
package app
