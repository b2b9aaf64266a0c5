package account

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// minPassword is the shortest password in code points: what NIST SP 800-63B-4,
// section 3.1.1.2, and OWASP ask for beside a second factor. Fifteen without
// one would be NIST's; a shop that asks for them loses customers at the till to
// those that don't.
const minPassword = 8

var (
	// ErrShortPassword says that a password has too few characters.
	ErrShortPassword = errors.New("has fewer than 8 characters")
	// ErrWeakPassword says that a password is one of those that are guessed
	// first.
	ErrWeakPassword = errors.New("is too easy to guess, being a common one, the e-mail address or a simple pattern: choose another")
)

// normalPassword is the form of a password that is hashed.
func normalPassword(password string) string { return norm.NFC.String(password) }

// passwordForms are the forms of a password that may have been hashed: the
// composed one, and what was typed, as earlier releases did.
func passwordForms(password string) []string {
	if normal := normalPassword(password); normal != password {
		return []string{normal, password}
	}
	return []string{password}
}

// CheckPassword refuses a new password that is guessed first (NIST SP
// 800-63B-4, section 3.1.1.2): a common one, also with digits and signs behind
// it, the owner's e-mail address or a part of it, and simple patterns. It fails
// with [ErrShortPassword] or [ErrWeakPassword], whose texts go after
// "password".
func CheckPassword(password, email string) error {
	password = normalPassword(password)
	if utf8.RuneCountInString(password) < minPassword {
		return ErrShortPassword
	}
	folded := strings.ToLower(password)
	undecorated := strings.TrimRight(folded, "0123456789!?.,*#@$%&+_- ")
	local, domain, _ := strings.Cut(strings.ToLower(email), "@")
	site, _, _ := strings.Cut(domain, ".")
	own := []string{strings.ToLower(email), local, domain, site}
	for _, text := range []string{folded, undecorated} {
		if commonPasswords[text] || text != "" && slices.Contains(own, text) {
			return ErrWeakPassword
		}
	}
	if isPattern(folded) {
		return ErrWeakPassword
	}
	return nil
}

// isPattern reports whether a password has fewer than four different
// characters, is blank, or is a row of neighbours such as 12345678 and
// hgfedcba.
func isPattern(password string) bool {
	different := map[rune]bool{}
	up, down, blank := true, true, true
	var last rune
	for i, r := range password {
		different[r] = true
		blank = blank && unicode.IsSpace(r)
		if i > 0 {
			up = up && (r == last+1 || last == '9' && r == '0')
			down = down && (r == last-1 || last == '0' && r == '9')
		}
		last = r
	}
	return len(different) < 4 || blank || up || down
}

// commonPasswords are those that everybody knows to try first, in lower case
// and without what CheckPassword takes off their end. It is short on purpose:
// it stops what somebody tries ten times in a quarter of an hour, which is what
// the limits of log-ins allow.
var commonPasswords = func() map[string]bool {
	const words = `
password passwort passwd passw0rd p@ssw0rd p@ssword pa$$word pa55word passphrase mypassword thepassword newpassword
welcome welcome1 letmein letmein1 openup opensesame opensaysme changeme change-me default secret topsecret
admin administrator root superuser user username guest login master webmaster demo test tester testing testtest
qwerty qwertyu qwertyui qwertyuiop qwertz qwertzui qwertzuiop azerty azertyui azertyuiop asdfgh asdfghj asdfghjk asdfghjkl
zxcvbn zxcvbnm 1q2w3e4r 1q2w3e4r5t q1w2e3r4 q1w2e3r4t5 1qaz2wsx 1qazxsw2 qazwsx qazwsxedc 123qwe 123qweasd qwe123
qweasd qweasdzxc asdf asdfasdf qwer qwerqwer abcabc abc abcd abcd1234 a1b2c3d4 aa123456 abc12345 1234qwer 123abc
11223344 12341234 12344321 147258369 123654789 741852963 789456123 987654321a 123456789a 12345678a a12345678 a123456789
iloveyou iloveu ilovegod ilovemom loveyou lovelove trustno trustno1 whatever nothing
sunshine princess dragon monkey shadow superman batman spiderman starwars pokemon naruto minecraft ninja hello hellohello
football baseball basketball soccer hockey liverpool chelsea arsenal barcelona juventus
michael jennifer jessica jordan ashley charlie daniel thomas andrew george robert matthew joshua nicole michelle
summer winter spring autumn monday friday sunday january february october november december
computer internet samsung google facebook instagram flower cheese chocolate butterfly cookie pepper ginger
shopping shopper customer blackfriday black-friday doorbuster doorbusters midnight
`
	common := map[string]bool{}
	for word := range strings.FieldsSeq(words) {
		common[word] = true
	}
	return common
}()
