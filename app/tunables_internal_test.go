package app

import "testing"

// While Redis is away each worker lets a quarter of a person's quota through at
// least, whichever of the person's quotas is asked: those of the address, too.
func TestFloorIsOnePersons(t *testing.T) {
	t.Parallel()
	tunables := NewTunables()
	for class, want := range map[string]int64{
		classRequests: 150, classDiscount: 5, classDeclined: 3, classLogin: 3, classGuests: 0, classRegister: 0,
	} {
		if got := tunables.floor(class); got != want {
			t.Errorf("%s: got %d units, want %d", class, got, want)
		}
	}
	limits := &limits{tunables: tunables}
	c := limits.charges()
	c.add(classRequests, kindSession, "ann", take(1))
	c.add(classRequests, kindAddress, "home", take(1))
	c.add(classGuests, kindAddress, "home", take(1))
	for i, want := range []int64{150, 150, 0} {
		if got := c.all[i].charge.Floor; got != want {
			t.Errorf("charge %v: got a floor of %d, want %d", c.all[i].id, got, want)
		}
	}
	if err := tunables.Set("limit-requests-session", "off"); err != nil {
		t.Fatal(err)
	}
	if got := tunables.floor(classRequests); got != 0 {
		t.Errorf("without a quota of a person: got a floor of %d, want none", got)
	}
}
