package app

import (
	"encoding/json"
)

// Siblings are the other workers under the same master. What they are told is a hint: a message may be missed.
type Siblings interface {
	// Broadcast sends a message to all of them.
	Broadcast(data []byte) error
	// OnMessage sets what takes their messages.
	OnMessage(f func(from int, data []byte))
}

// shelfNews is a message between siblings: SKUs that are gone, and such that are there again.
type shelfNews struct {
	Gone []int64 `json:"gone,omitempty"`
	Back []int64 `json:"back,omitempty"`
}

// shareHints tells the siblings what this worker finds gone, and believes what they tell.
func (a *App) shareHints(siblings Siblings) {
	a.hints.OnNews(func(gone, back []int64) {
		message, err := json.Marshal(shelfNews{gone, back})
		if err == nil {
			err = siblings.Broadcast(message)
		}
		if err != nil {
			a.log.Debug("siblings are not told what is sold out", "error", err)
		}
	})
	siblings.OnMessage(func(from int, data []byte) {
		var m shelfNews
		if err := json.Unmarshal(data, &m); err != nil { // perhaps of another release
			a.log.Debug("a message that nobody understands", "from", from, "error", err)
			return
		}
		a.hints.Heard(m.Gone, m.Back)
	})
}
