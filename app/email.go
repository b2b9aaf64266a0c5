package app

import (
	"net"
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

// domainNames are those that the DNS can hold (UTS 46, https://www.unicode.org/reports/tr46/).
var domainNames = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// fold is the form of a text that is compared.
func fold(text string) string { return strings.ToLower(norm.NFC.String(text)) }

// normalEmail returns an address in the form under which it is compared, and to which mail is sent. Addresses of one mailbox
// come out the same where that takes no guess about its provider: lower case, Unicode in its composed form (NFC), and the
// domain in its ASCII form (IDNA). huma has checked it against RFC 5322 already, which lets display names and comments
// through.
//
// An address is never changed into somebody else's. A few characters outside ASCII stand for one of it, such as the Kelvin sign
// for k; they are refused, and so is what nobody sees on a screen.
func normalEmail(address string) (string, error) {
	refuse := func(detail string) (string, error) { return "", invalid("body", "email", detail) }
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Name != "" || parsed.Address != strings.TrimSpace(address) || !validText(address, maxEmail) {
		return refuse("is not a plain e-mail address")
	}
	for _, r := range parsed.Address {
		if !unicode.IsGraphic(r) || unicode.Is(unicode.Cf, r) {
			return refuse("contains a character that can't be seen")
		}
		if r > unicode.MaxASCII && strings.IndexFunc(fold(string(r)), func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
			return refuse("contains a character that stands for another")
		}
	}
	at := strings.LastIndex(parsed.Address, "@")
	local, domain := fold(parsed.Address[:at]), parsed.Address[at+1:]
	if len(local) > maxLocalPart {
		return refuse("is longer than 64 bytes before the @")
	}
	domain, err = domainNames.ToASCII(domain)
	if err != nil || !strings.Contains(domain, ".") || net.ParseIP(strings.Trim(domain, "[]")) != nil {
		return refuse("has no domain name of the internet after the @")
	}
	if len(local)+1+len(domain) > maxEmail {
		return refuse("is too long")
	}
	return local + "@" + domain, nil
}
