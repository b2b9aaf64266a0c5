package dbtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	redismodule "github.com/testcontainers/testcontainers-go/modules/redis"
)

// Where there is no engine, or no network behind it, tests must not wait for that to be certain.
const (
	engineLimit   = 3 * time.Second
	registryLimit = 5 * time.Second
)

type images struct{ postgres, redis string }

func imagesFrom(getenv func(string) string) images {
	return images{
		postgres: cmp.Or(getenv("TEST_POSTGRES_IMAGE"), "postgres:17-alpine"),
		redis:    cmp.Or(getenv("TEST_REDIS_IMAGE"), "redis:8-alpine"),
	}
}

// probe asks whether there is a Docker engine with these images, or that can pull them. The error is the reason
// why not, in a few words; the cause behind them would be a page about every socket that was tried.
func probe(want images) (version string, err error) {
	log.SetDefault(log.NewNoopLogger()) // else it introduces itself on stderr in a dozen lines
	ctx, cancel := context.WithTimeout(context.Background(), engineLimit)
	defer cancel()
	engine, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return "", errors.New("no Docker engine answered")
	}
	defer engine.Close()
	about, err := engine.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		return "", errors.New("no Docker engine answered")
	}
	for _, image := range []string{want.postgres, want.redis} {
		if !available(engine.Client, image) {
			return "", fmt.Errorf("Docker %s has no image %s and cannot pull it", about.Version, image)
		}
	}
	return "Docker " + about.Version, nil
}

func available(engine *client.Client, image string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), registryLimit)
	defer cancel()
	if _, err := engine.ImageInspect(ctx, image); err == nil {
		return true
	}
	_, err := engine.DistributionInspect(ctx, image, client.DistributionInspectOptions{})
	return err == nil
}

func postgresContainer(ctx context.Context, want images) (running, error) {
	c, err := postgres.Run(ctx, want.postgres,
		postgres.WithDatabase("doorbuster"), postgres.WithUsername("doorbuster"), postgres.WithPassword("doorbuster"),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "max_connections="+strconv.Itoa(privateConnections)),
		postgres.BasicWaitStrategies())
	return contain(ctx, c, err, func() (string, error) { return c.ConnectionString(ctx, "sslmode=disable") }, describePostgres)
}

func redisContainer(ctx context.Context, want images) (running, error) {
	c, err := redismodule.Run(ctx, want.redis)
	return contain(ctx, c, err, func() (string, error) { return c.ConnectionString(ctx) }, describeRedis)
}

// contain finishes the start of a container: one that started and is of no use is removed again.
func contain(ctx context.Context, c testcontainers.Container, err error,
	connection func() (string, error), describe func(context.Context, string) (string, error),
) (running, error) {
	var r running
	if err == nil {
		r.url, err = connection()
	}
	if err == nil {
		r.what, err = describe(ctx, r.url)
	}
	r.close = func() error { return testcontainers.TerminateContainer(c) } // which copes with nil
	if err != nil {
		return running{}, errors.Join(fmt.Errorf("start container: %w", err), r.close())
	}
	return r, nil
}
