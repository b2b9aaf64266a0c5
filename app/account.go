package app

import (
	"context"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"

	"doorbuster/app/account"
	"doorbuster/app/cart"
)

// Account is a customer.
type Account struct {
	ID        uuid.UUID `json:"id" format:"uuid"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

func accountView(a account.Account) Account { return Account{a.ID, a.Email, a.Name, a.CreatedAt} }

// Session tells who is logged in.
type Session struct {
	Account     Account   `json:"account"`
	CartLeftOut []LeftOut `json:"cart_left_out,omitempty" nullable:"false" doc:"What a guest's cart had that the account's has no room for, at the login that joined them"`
}

type sessionOutput struct{ Body Session }

type registerOutput struct {
	Status int
	Body   Session
}

// The bounds of a password: OWASP's minimum, and a maximum that keeps hashing
// cheap to refuse.
type registerInput struct {
	Body struct {
		Email    string `json:"email" maxLength:"254" format:"email" example:"ada@example.com"`
		Password string `json:"password" minLength:"8" maxLength:"256" example:"correct horse battery"`
		Name     string `json:"name,omitempty" nullable:"true" maxLength:"100" example:"Ada" doc:"null is as good as absent"`
	}
}

type logInInput struct {
	Body struct {
		Email    string `json:"email" maxLength:"254" format:"email" example:"ada@example.com"`
		Password string `json:"password" minLength:"1" maxLength:"256" example:"correct horse battery"`
	}
}

// maxName is the longest name of a customer in characters.
const maxName = 100

// register makes an account and logs it in. Where there is one already, it is a
// log-in: package account says why.
func (a *App) register(ctx context.Context, in *registerInput) (*registerOutput, error) {
	email, err := normalEmail(in.Body.Email)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(in.Body.Name)
	if !validText(name, maxName) || strings.ContainsFunc(name, isControl) {
		return nil, invalid("body", "name", "is not valid text, or contains a character that controls a screen")
	}
	if err := account.CheckPassword(in.Body.Password, email); err != nil {
		return nil, invalid("body", "password", err.Error())
	}
	attempt, err := a.beginRegistration(ctx, email)
	if err != nil {
		return nil, err
	}
	login := account.Login{Email: email, OldEmail: oldEmail(in.Body.Email), Password: in.Body.Password}
	customer, made, err := a.accounts.Register(account.WithCaller(ctx, attempt.caller), login, name)
	attempt.end(made, err) //nolint:contextcheck // one call of Redis decides for many requests
	if err != nil {
		return nil, err
	}
	out := &registerOutput{Status: http.StatusOK}
	if made {
		out.Status = http.StatusCreated
	}
	out.Body, err = a.welcome(ctx, customer, email)
	return out, err
}

// isControl reports whether a character does something to the screen or the
// mail that a text is shown in: control characters and line ends, and those
// that write what follows from the other side (bidirectional overrides, UAX 9).
// Marks that languages are spelled with are none of them.
func isControl(r rune) bool {
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) ||
		'\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069'
}

func (a *App) logIn(ctx context.Context, in *logInInput) (*sessionOutput, error) {
	email, old, err := logInEmail(in.Body.Email)
	if err != nil {
		return nil, err
	}
	attempt, err := a.beginLogIn(ctx, email)
	if err != nil {
		return nil, err
	}
	login := account.Login{Email: email, OldEmail: old, Password: in.Body.Password}
	customer, err := a.accounts.Authenticate(account.WithCaller(ctx, attempt.caller), login)
	attempt.end(false, err) //nolint:contextcheck // one call of Redis decides for many requests
	if err != nil {
		return nil, err
	}
	session, err := a.welcome(ctx, customer, email)
	if err != nil {
		return nil, err
	}
	return &sessionOutput{session}, nil
}

// welcome logs a customer in, who has given this e-mail address: the guest's
// cart is merged into the account's and the guest's orders become visible to
// it. The session changes last, so that a failure before leaves a guest who can
// try again; each step can be repeated.
func (a *App) welcome(ctx context.Context, customer account.Account, email string) (Session, error) {
	s := sessionOf(ctx)
	var left []cart.Line
	if guest, ok := s.id(guestKey); ok {
		var err error
		if left, err = a.carts.Merge(ctx, guest, customer.ID); err != nil {
			return Session{}, err
		}
		if err := a.checkout.Adopt(ctx, guest, customer.ID); err != nil {
			return Session{}, err
		}
	}
	leftOut, err := a.leftOut(ctx, left)
	if err != nil {
		return Session{}, err
	}
	if err := s.logIn(ctx, customer, email, a.accounts); err != nil {
		return Session{}, err
	}
	return Session{accountView(customer), leftOut}, nil
}

func (a *App) whoAmI(ctx context.Context, _ *struct{}) (*sessionOutput, error) {
	id, err := sessionOf(ctx).account()
	if err != nil {
		return nil, err
	}
	customer, err := a.accounts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	return &sessionOutput{Session{Account: accountView(customer)}}, nil
}

func (a *App) logOut(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, sessionOf(ctx).logOut(ctx)
}
