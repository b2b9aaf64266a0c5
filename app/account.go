package app

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/account"
)

// Account is a customer.
type Account struct {
	ID        uuid.UUID `json:"id" format:"uuid"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// Session tells who is logged in.
type Session struct {
	Account Account `json:"account"`
}

type sessionOutput struct{ Body Session }

// The bounds of a password: OWASP's minimum, and a maximum that keeps hashing cheap to refuse.
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

// register makes an account and logs it in.
func (a *App) register(ctx context.Context, in *registerInput) (*sessionOutput, error) {
	email, err := normalEmail(in.Body.Email)
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(in.Body.Name)
	if !validText(name, 100) {
		return nil, invalid("body", "name", "is not valid text")
	}
	ctx = account.WithCaller(ctx, account.Caller{From: sessionOf(ctx).subject.address})
	customer, err := a.accounts.Register(ctx, email, name, in.Body.Password)
	if err != nil {
		return nil, err
	}
	return a.welcome(ctx, customer)
}

func (a *App) logIn(ctx context.Context, in *logInInput) (*sessionOutput, error) {
	email, err := normalEmail(in.Body.Email)
	if err != nil {
		return nil, err
	}
	attempt, err := a.beginLogIn(ctx, email)
	if err != nil {
		return nil, err
	}
	customer, err := a.accounts.Authenticate(account.WithCaller(ctx, attempt.caller), email, in.Body.Password)
	attempt.end(err) //nolint:contextcheck // one call of Redis decides for many requests
	if err != nil {
		return nil, err
	}
	return a.welcome(ctx, customer)
}

// welcome logs a customer in: the guest's cart is merged into the account's and the guest's orders become visible to it.
// The session changes last, so that a failure before leaves a guest who can try again; each step can be repeated.
func (a *App) welcome(ctx context.Context, customer account.Account) (*sessionOutput, error) {
	s := sessionOf(ctx)
	if guest, ok := s.id(guestKey); ok {
		if err := a.carts.Merge(ctx, guest, customer.ID); err != nil {
			return nil, err
		}
		if err := a.checkout.Adopt(ctx, guest, customer.ID); err != nil {
			return nil, err
		}
	}
	if err := s.logIn(ctx, customer.ID, customer.Email); err != nil {
		return nil, err
	}
	return &sessionOutput{Session{Account(customer)}}, nil
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
	return &sessionOutput{Session{Account(customer)}}, nil
}

func (a *App) logOut(ctx context.Context, _ *struct{}) (*struct{}, error) {
	return nil, sessionOf(ctx).logOut(ctx)
}
