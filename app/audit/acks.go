package audit

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/uuid"
)

// Ack is what one customer was told about one try of a checkout: a line of the acknowledgement log, as JSON. A load
// generator appends the line when it has the answer, or has given up on it.
type Ack struct {
	// Key is the Idempotency-Key; it names the checkout. No two customers may choose the same one.
	Key string `json:"key"`
	// Status is that of the HTTP answer: 201 or 200 for an order; 0 for a time-out or a broken connection.
	Status int `json:"status"`
	// Code is that of the problem, such as out-of-stock, where the answer was one.
	Code string `json:"code,omitempty"`
	// Order is the order's id, TotalMinor its total in minor units: where the answer was an order.
	Order      uuid.UUID `json:"order,omitzero"`
	TotalMinor int64     `json:"total_minor,omitempty"`
	// OrderStatus is the order's, such as pending: where the answer was an order.
	// Without it the customer counts as told that the order stands.
	OrderStatus string `json:"order_status,omitempty"`
	// SKU and Quantity are what the customer wanted, where that was one line.
	SKU      string `json:"sku,omitempty"`
	Quantity int    `json:"quantity,omitempty"`
	// Held says that the answer told of units held by payments under way: the
	// customer may come again, and was not told that all are sold.
	Held bool `json:"held,omitempty"`
}

// acknowledged reports whether the customer was told of an order.
func (a *Ack) acknowledged() bool { return a.Status == 200 || a.Status == 201 || a.Status == 202 }

// promised reports whether the customer was told that the order stands. A pending
// one may still be cancelled, which leaves its key free for another.
func (a *Ack) promised() bool {
	return a.acknowledged() && a.Status != 202 && a.OrderStatus != "pending"
}

// soldOut reports whether the customer was told that there is none left, and
// none that may come back.
func (a *Ack) soldOut() bool { return a.Status == 409 && a.Code == "out-of-stock" && !a.Held }

// Acks is an acknowledgement log: for each key what its customer was told, in order.
type Acks map[string][]Ack

const maxAck = 64 << 10 // bytes of a line

// ReadAcks reads a log. A last line that was cut short, as by the death of who wrote it, is left out: nobody was told it.
func ReadAcks(r io.Reader) (Acks, error) {
	acks := Acks{}
	lines := bufio.NewReaderSize(r, maxAck)
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			return acks, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read line %d of the acknowledgement log: %w", n, err)
		}
		var a Ack
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("read line %d of the acknowledgement log: %w", n, err)
		}
		if a.Key == "" {
			return nil, fmt.Errorf("line %d of the acknowledgement log has no key", n)
		}
		if a.acknowledged() && a.Order == uuid.Nil {
			return nil, fmt.Errorf("line %d of the acknowledgement log has status %d and no order", n, a.Status)
		}
		acks[a.Key] = append(acks[a.Key], a)
	}
}
