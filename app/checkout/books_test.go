package checkout_test

import (
	"strings"

	"doorbuster/app/audit"
	"doorbuster/app/checkout"
)

// checkBooks lets the audit compare the shop's books with each other and with the provider's. Tests call it when all is done.
// An order that is left pending may be late: most tests have no sweeper.
func (s *shop) checkBooks() {
	s.t.Helper()
	report, err := audit.Run(s.t.Context(), s.pool, audit.Options{Provider: s.provider})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range report.Checks {
		for _, wrong := range c.Examples {
			if late := c.Name == "settled" && strings.Contains(wrong, "its hold ended"); !late && c.Name != "durable" {
				s.t.Errorf("books: %s: %s", c.Name, wrong)
			}
		}
	}
}

// buy checks out at a worker whose provider works, and wants the order confirmed.
func (s *shop) buy(req checkout.Request) checkout.Order {
	s.t.Helper()
	result, err := s.worker(s.provider, patient).Checkout(s.t.Context(), req)
	if err != nil {
		s.t.Fatalf("checkout: %v", err)
	}
	if result.Order.Status != checkout.Confirmed || result.Replayed {
		s.t.Fatalf("got order %s, replayed %t, want confirmed, and new", result.Order.Status, result.Replayed)
	}
	return result.Order
}
