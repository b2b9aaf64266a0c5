package checkout_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"doorbuster/app/payment"
)

// Numbers of orders are unique, and don't tell how many there were in between: to who
// has bought twice in a row, neither their order nor their distance says anything.
func TestOrderNumbers(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const most = 100_000
	var distinct, rising, steps int
	var least, greatest int64
	err := s.pool.QueryRow(t.Context(), `
SELECT count(DISTINCT number), min(number), max(number), count(*) FILTER (WHERE number > before), count(DISTINCT number - before)
  FROM (SELECT order_number(n) AS number, lag(order_number(n)) OVER (ORDER BY n) AS before FROM generate_series(1, $1::bigint) AS n) AS all_numbers`,
		most).Scan(&distinct, &least, &greatest, &rising, &steps)
	if err != nil {
		t.Fatal(err)
	}
	if distinct != most || least < 1e9 || greatest >= 1e10 {
		t.Errorf("of %d numbers %d are distinct, from %d to %d", most, distinct, least, greatest)
	}
	if rising < most*45/100 || rising > most*55/100 || steps < most*9/10 {
		t.Errorf("of %d numbers %d are above the one before, with %d distances", most, rising, steps)
	}
	// Behind the last of 30 bits none comes again.
	var twice int
	if err := s.pool.QueryRow(t.Context(), `
SELECT count(*) - count(DISTINCT order_number(n)) FROM generate_series(1073741800::bigint, 1073741850) AS n`).Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d numbers come twice, %v", twice, err)
	}
	_, placed := s.placeAll(s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1))
	numbers := map[int64]uuid.UUID{}
	for _, p := range placed {
		numbers[p.Order.Number] = p.Order.ID
	}
	if len(numbers) != 3 || slices.Contains([]int64{0, 1, 100001}, placed[0].Order.Number) {
		t.Errorf("got numbers %v", numbers)
	}
}
