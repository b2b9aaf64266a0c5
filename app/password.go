package app

import (
	"context"
	"fmt"

	"doorbuster/app/account"
)

type passwordInput struct {
	Body struct {
		Current string `json:"current_password" minLength:"1" maxLength:"256" example:"correct horse battery"`
		New     string `json:"new_password" minLength:"8" maxLength:"256" example:"another horse battery"`
	}
}

// changePassword gives an account another password, and logs it out in all
// other browsers. It costs what a log-in costs: who has found a browser that is
// logged in does not know the password.
func (a *App) changePassword(ctx context.Context, in *passwordInput) (*struct{}, error) {
	s := sessionOf(ctx)
	id, err := s.account()
	if err != nil {
		return nil, err
	}
	customer, err := a.accounts.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := account.CheckPassword(in.Body.New, customer.Email); err != nil {
		return nil, invalid("body", "new_password", err.Error())
	}
	attempt, err := a.beginPasswordChange(ctx, customer.Email)
	if err != nil {
		return nil, err
	}
	customer, err = a.accounts.ChangePassword(account.WithCaller(ctx, attempt.caller), id, in.Body.Current, in.Body.New)
	attempt.end(false, err) //nolint:contextcheck // one call of Redis decides for many requests
	if err != nil {
		return nil, err
	}
	// Also for a customer who has hung up: nobody else would end them.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	if err := s.index.endAll(ending, id); err != nil {
		return nil, stillLoggedIn(err)
	}
	if err := s.enter(ctx, customer, a.accounts); err != nil {
		return nil, stillLoggedIn(err)
	}
	return nil, nil
}

// stillLoggedIn is the problem of a password that was changed, but not every
// session may be over.
func stillLoggedIn(err error) error {
	p := problemFor(err)
	p.Detail = "The password was changed, but other browsers may still be logged in. Log in with the new one, and send DELETE /v1/sessions."
	return p
}

// logOutEverywhere ends all sessions of an account, with this one.
func (a *App) logOutEverywhere(ctx context.Context, _ *struct{}) (*struct{}, error) {
	s := sessionOf(ctx)
	id, err := s.account()
	if err != nil {
		return nil, err
	}
	if err := s.index.endAll(ctx, id); err != nil {
		return nil, fmt.Errorf("log out everywhere: %w", err)
	}
	return nil, s.logOut(ctx)
}
