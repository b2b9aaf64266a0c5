package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// The argon2id parameters for new hashes: OWASP Password Storage Cheat Sheet,
// minimum configuration. A stored hash names its own, so these can be raised
// without locking anybody out.
const (
	memoryKiB   = 19 * 1024
	iterations  = 2
	parallelism = 1
	saltBytes   = 16
	hashBytes   = 32
)

// The bounds within which stored parameters are believed: a row that was
// tampered with must not eat the machine.
const (
	maxMemoryKiB  = 256 * 1024
	maxIterations = 16
)

// hasher hashes passwords within a budget of processor time.
type hasher struct {
	*budget
	decoy string // what a password for an unknown address is compared with
}

func newHasher(cfg Config) *hasher {
	// No password is known to hash to zeroes.
	return &hasher{newBudget(cfg), encode(make([]byte, saltBytes), make([]byte, hashBytes))}
}

// hash returns a password's hash in PHC string format.
func (h *hasher) hash(ctx context.Context, password string) (encoded string, err error) {
	err = h.run(ctx, work(memoryKiB, iterations), func() {
		salt := make([]byte, saltBytes)
		rand.Read(salt) // never fails: crypto/rand
		encoded = encode(salt, argon2.IDKey([]byte(password), salt, iterations, memoryKiB, parallelism, hashBytes))
	})
	return encoded, err
}

// work is what a hash costs by its parameters, in units of a MiB filled once.
func work(memoryKiB, iterations int) int { return memoryKiB * iterations / 1024 }

func encode(salt, sum []byte) string {
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memoryKiB, iterations, parallelism,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// storedHash is a hash in PHC string format, taken apart.
type storedHash struct {
	memoryKiB, rounds int
	lanes             uint8
	salt, sum         []byte
}

func parseHash(encoded string) (h storedHash, err error) {
	parts := strings.Split(encoded, "$") // "", argon2id, v=19, m=..,t=..,p=.., salt, sum
	if len(parts) != 6 || parts[1] != "argon2id" {
		return h, errors.New("stored password hash has an unknown form")
	}
	var version int
	if _, err := fmt.Sscanf(parts[2]+" "+parts[3], "v=%d m=%d,t=%d,p=%d", &version, &h.memoryKiB, &h.rounds, &h.lanes); err != nil {
		return h, fmt.Errorf("read stored password hash: %w", err)
	}
	if version != argon2.Version || h.memoryKiB < 8 || h.memoryKiB > maxMemoryKiB || h.rounds < 1 || h.rounds > maxIterations || h.lanes < 1 {
		return h, fmt.Errorf("stored password hash has parameters out of bounds: %s,%s", parts[2], parts[3])
	}
	if h.salt, err = base64.RawStdEncoding.DecodeString(parts[4]); err != nil {
		return h, fmt.Errorf("read stored password salt: %w", err)
	}
	if h.sum, err = base64.RawStdEncoding.DecodeString(parts[5]); err != nil {
		return h, fmt.Errorf("read stored password hash: %w", err)
	}
	if len(h.sum) < hashBytes {
		return h, fmt.Errorf("stored password hash has %d bytes, fewer than %d", len(h.sum), hashBytes)
	}
	return h, nil
}

// outdated reports whether a hash costs an attacker less than one of today. A
// stronger one, which a later release has made, is left as it is.
func outdated(encoded string) bool {
	h, err := parseHash(encoded)
	return err == nil && work(h.memoryKiB, h.rounds) < work(memoryKiB, iterations)
}

// verify reports whether a password has this hash, in constant time for a given
// hash.
func (h *hasher) verify(ctx context.Context, encoded, password string) (matches bool, err error) {
	stored, err := parseHash(encoded)
	if err != nil {
		return false, err
	}
	err = h.run(ctx, work(stored.memoryKiB, stored.rounds), func() {
		got := argon2.IDKey([]byte(password), stored.salt, uint32(stored.rounds), uint32(stored.memoryKiB), stored.lanes, uint32(len(stored.sum)))
		matches = subtle.ConstantTimeCompare(got, stored.sum) == 1
	})
	return matches, err
}
