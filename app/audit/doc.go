// Package audit checks the books of a shop: whether what it told its customers, what it wrote down, and what its payment
// provider did are one and the same story. It only reads, in one snapshot, and so may run beside an open shop; it is the
// one package that reads the tables of all others.
//
// Nine checks, each of which finds nothing in a shop that keeps promise E3:
//
//	stock         received = available + held + sold for every SKU, and nothing below zero
//	acknowledged  every order that a customer was told of is there, once, with the total and the state that the customer was
//	              told: only a pending one may be cancelled later, and give way to another under its key
//	paid          each confirmed order is paid once and in full, nothing else is, the provider says the same, and nothing
//	              that was captured by mistake waits to be refunded
//	once          one order at the most for each idempotency key, and for each filling of a cart
//	settled       no order waits beyond its hold, none lacks its lines, and each is their sum
//	unanswered    a checkout whose answer was lost made one order or none
//	undersold     nobody was told "sold out" while units were left at the end
//	limits        no customer has more of a limited SKU than was allowed when it was ordered, though a login may join two that
//	              have enough; what is counted is what is held
//	durable       PostgreSQL flushes its log before it says that an order is committed
//
// Findings are counted, and twenty of each check are told: memory does not grow with the books. The log of what customers were
// told is held in memory.
//
// Three of them need to know what customers were told: [ReadAcks] reads the log that a load generator keeps. Without it they
// are skipped, and the report says so. The ninth stands for what no query can show: run the audit again after a crash.
package audit
