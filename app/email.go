package app

import (
	"net/mail"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// The longest parts of an address in bytes (RFC 5321, section 4.5.3.1).
const (
	maxEmail     = 254
	maxLocalPart = 64
)

// domainNames are those that the DNS can hold (UTS 46,
// https://www.unicode.org/reports/tr46/).
var domainNames = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// fold is the form of a text that is compared.
func fold(text string) string { return strings.ToLower(norm.NFC.String(text)) }

// plainEmail returns an address without the blanks around it. huma has checked
// it against RFC 5322 already, which lets display names and comments through.
func plainEmail(address string) (plain string, ok bool) {
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Name != "" || parsed.Address != strings.TrimSpace(address) || !validText(address, maxEmail) {
		return "", false
	}
	return parsed.Address, true
}

// normalEmail returns an address in the form under which it is compared, and to
// which mail is sent. Addresses of one mailbox come out the same where that
// takes no guess about its provider: lower case, Unicode in its composed form
// (NFC), and the domain in its ASCII form (IDNA).
//
// An address is never changed into somebody else's. A few characters outside
// ASCII stand for one of it, such as the Kelvin sign for k; they are refused,
// and so is what nobody sees on a screen. The domain has to be a name of the
// internet: mail to a@localhost would be this machine's, and to an IP address
// nobody's.
func normalEmail(address string) (string, error) {
	refuse := func(detail string) (string, error) { return "", invalid("body", "email", detail) }
	plain, ok := plainEmail(address)
	if !ok {
		return refuse("is not a plain e-mail address")
	}
	for _, r := range plain {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
			return refuse("contains a character that can't be seen")
		}
		if standsForAnother(r) {
			return refuse("contains a character that stands for another")
		}
	}
	at := strings.LastIndex(plain, "@")
	local, domain := fold(plain[:at]), plain[at+1:]
	if len(local) > maxLocalPart {
		return refuse("is longer than 64 bytes before the @")
	}
	domain, err := domainNames.ToASCII(domain)
	if err != nil || !isInternetName(domain) {
		return refuse("has no domain name of the internet after the @")
	}
	if len(local)+1+len(domain) > maxEmail {
		return refuse("is too long")
	}
	return local + "@" + domain, nil
}

// standsForAnother reports whether a character outside ASCII is compared as one
// of it.
func standsForAnother(r rune) bool {
	return r > unicode.MaxASCII && strings.IndexFunc(fold(string(r)), func(r rune) bool { return r > unicode.MaxASCII }) < 0
}

// isInternetName reports whether a domain has a top-level domain, which is
// never a number alone (RFC 3696, section 2): those are of IP addresses.
func isInternetName(domain string) bool {
	i := strings.LastIndex(domain, ".")
	return i > 0 && strings.Trim(domain[i+1:], "0123456789") != ""
}

// oldEmail returns the form in which earlier releases stored an address: in
// lower case, as it was typed, with much let through that [normalEmail]
// refuses. It is "" where there never was an account.
func oldEmail(address string) string {
	plain, ok := plainEmail(address)
	if !ok || strings.ContainsFunc(plain, standsForAnother) { // those became somebody else's
		return ""
	}
	return strings.ToLower(plain)
}

// logInEmail returns the forms of an address under which there may be an
// account. One that new accounts can't have is still that of an old one.
func logInEmail(address string) (normal, old string, err error) {
	old = oldEmail(address)
	if normal, err = normalEmail(address); err != nil && old != "" {
		return old, old, nil
	}
	return normal, old, err
}
