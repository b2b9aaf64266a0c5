package account

import (
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

// phc returns a password's hash with the given parameters.
func phc(password string, memory, rounds uint32, lanes uint8) string {
	salt := []byte("0123456789abcdef")
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s", memory, rounds, lanes, b64(salt),
		b64(argon2.IDKey([]byte(password), salt, rounds, memory, lanes, hashBytes)))
}

// PHC returns a password's hash with the given parameters.
func PHC(password string, memory, rounds uint32) string { return phc(password, memory, rounds, 1) }

// HashAsTyped returns a password's hash by today's parameters, without
// composing it.
func HashAsTyped(password string) string {
	return phc(password, memoryKiB, iterations, parallelism)
}
