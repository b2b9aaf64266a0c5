package app

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// cursorLifetime is how long a list can be continued: a cursor is for the next click, not for a bookmark.
const cursorLifetime = 24 * time.Hour

// The form of a cursor, as clients see it. The longest that the shop makes belongs to
// a search for 100 characters of four bytes each.
const (
	maxCursor     = 2048
	cursorPattern = "^[A-Za-z0-9_-]*$"
)

// A cursor is where a list goes on: after an id, under the filter it began with. Clients get it as an opaque text. The
// check sum is not a secret: it tells accidents and other people's formats apart from cursors of ours, and who makes one
// up on purpose learns nothing that the list would not show.
type cursor struct {
	List   string    `json:"l"` // which list, with its filter
	After  string    `json:"a"`
	Issued time.Time `json:"t"`
}

const cursorSumBytes = 8

func (c cursor) encode() string {
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and a time
	}
	sum := sha256.Sum256(raw)
	return base64.RawURLEncoding.EncodeToString(append(sum[:cursorSumBytes], raw...))
}

// decodeCursor reads a client's cursor for a list, at the time now. The empty text is the beginning.
func decodeCursor(text, list string, now time.Time) (cursor, error) {
	c := cursor{List: list}
	if text == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > maxCursor || len(raw) < cursorSumBytes {
		return c, invalid("query", "cursor", "is not a cursor of this shop")
	}
	sum := sha256.Sum256(raw[cursorSumBytes:])
	var got cursor
	if string(sum[:cursorSumBytes]) != string(raw[:cursorSumBytes]) || json.Unmarshal(raw[cursorSumBytes:], &got) != nil {
		return c, invalid("query", "cursor", "is not a cursor of this shop")
	}
	if got.List != list {
		return c, invalid("query", "cursor", "belongs to another list; use it with the parameters that it came with")
	}
	if age := now.Sub(got.Issued); age > cursorLifetime || age < -cursorLifetime {
		return c, invalid("query", "cursor", "has expired; start the list again without it")
	}
	return got, nil
}
