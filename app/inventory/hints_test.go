package inventory_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"doorbuster/app/inventory"
)

// E3: what is gone is remembered for a second at the most, or until it is back; others are told once of what is found here,
// and nothing of what was heard from them.
func TestHints(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var told []string
		h := new(inventory.Hints)
		h.OnNews(func(gone, back []int64) { told = append(told, fmt.Sprint(gone, back)) })
		want := func(gone ...int64) {
			t.Helper()
			for sku := int64(1); sku <= 4; sku++ {
				if got := h.Gone(sku); got != slices.Contains(gone, sku) {
					t.Errorf("SKU %d is gone: %v", sku, got)
				}
			}
			if h.Any() != (len(gone) > 0) {
				t.Errorf("any: %v, and gone are %v", h.Any(), gone)
			}
		}
		want()
		h.Found(nil, nil)
		h.Found([]int64{1, 2}, nil)
		h.Heard([]int64{3}, nil)
		want(1, 2, 3)
		<-time.After(inventory.HintTTL / 2)
		h.Found([]int64{1, 4}, []int64{2}) // the first is no news, and is not believed for longer
		h.Heard(nil, []int64{3})
		want(1, 4)
		<-time.After(inventory.HintTTL / 2)
		want(4)
		h.Found([]int64{1}, nil)
		want(1, 4)
		<-time.After(inventory.HintTTL)
		want()
		h.Found(nil, []int64{4}) // somebody else may still believe it
		h.Heard(nil, []int64{4})
		if got := fmt.Sprint(told); got != "[[1 2] [] [4] [2] [1] [] [] [4]]" {
			t.Errorf("told %v", told)
		}
	})
}
