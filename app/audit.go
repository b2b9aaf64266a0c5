package app

import (
	"context"

	"doorbuster/app/audit"
	"doorbuster/app/payment"
)

// Audit checks the books of the shop in a database (see package audit). Where a Redis is named, in which the simulated payment
// provider keeps its own books, they are compared with these as well. acks may be nil.
func Audit(ctx context.Context, databaseURL, redisURL string, acks audit.Acks) (*audit.Report, error) {
	connections, err := openPostgres(ctx, Config{DatabaseURL: databaseURL, MaxConns: 1})
	if err != nil {
		return nil, err
	}
	defer connections.close()
	options := audit.Options{Acks: acks}
	if redisURL != "" {
		client, err := openRedis(ctx, Config{RedisURL: redisURL})
		if err != nil {
			return nil, err
		}
		defer client.Close()
		options.Provider = payment.NewSimulator(client, payment.SimulatorConfig{})
	}
	return audit.Run(ctx, connections.of[backgroundClass], options)
}
