// Package app is one worker of the shop: its HTTP edge, and the composition of the domain packages below it.
//
// # The life of a request
//
// [App.edge] names it (X-Request-Id) and answers for panics. routes.go, one screen, sends it on:
//
//   - Catalogue reads are plain handlers on an answer cache (answers.go): encoded answers, half a second old at most while
//     PostgreSQL answers, older while it does not. What is not in memory waits at a gate (misses.go), for a second at the
//     most, and is called off when nobody waits for it any more (flight.go); a hit never waits. That there is nothing is
//     remembered for a second.
//   - Everything that knows its customer passes the cross-origin check and the session middleware, and is a typed
//     handler: huma validates the input against the OpenAPI schema, the handler asks a domain package and returns a value
//     or an error.
//
// problem.go is the one place where an error becomes an answer and a log line.
//
// # Who owns what
//
//	catalog    category, product, sku, sale, sale_price, search_word
//	inventory  stock, stock_receipt, allowance
//	pricing    discount
//	cart       cart, cart_line
//	account    account
//	checkout   orders, order_line, payment; the only package that imports its siblings
//	app        Redis keys session:*
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
// # What may be away
//
// PostgreSQL is the truth. Redis holds sessions; when it is away, what needs a session answers 503 and the catalogue goes on.
// When PostgreSQL is away, the catalogue goes on from memory and the rest answers 503. Neither ends the worker (S4).
package app
