package dbtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
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
	createLimit   = 10 * time.Second // for an engine to finish what it began
	sweepLimit    = 10 * time.Second
)

type images struct{ postgres, redis string }

func imagesFrom(getenv func(string) string) images {
	return images{
		postgres: cmp.Or(getenv("TEST_POSTGRES_IMAGE"), "postgres:17.7-alpine"),
		redis:    cmp.Or(getenv("TEST_REDIS_IMAGE"), "redis:8.4-alpine"),
	}
}

// probe asks whether there is a Docker engine with these images, or that can pull them, and rids it of what earlier
// runs left. The error is the reason why not, in a few words; the cause behind them would be a page about every
// socket that was tried.
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
	version = "Docker " + about.Version
	reaper := reaperImage()
	for _, image := range []string{want.postgres, want.redis, reaper} {
		switch {
		case image == "" || available(engine.Client, image):
		case image == reaper:
			return "", fmt.Errorf("%s has no image %s and cannot pull it; TESTCONTAINERS_RYUK_DISABLED=true does without it",
				version, image)
		default:
			return "", fmt.Errorf("%s has no image %s and cannot pull it", version, image)
		}
	}
	sweep(engine.Client)
	return version, nil
}

// reaperImage is what testcontainers starts beside the first container, to remove all of them should this process
// be killed; "" if it is told not to.
func reaperImage() string {
	if testcontainers.ReadConfig().Config.RyukDisabled {
		return ""
	}
	return testcontainers.ReaperDefaultImage //nolint:staticcheck // deprecated in favour of an internal name
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
	c, err := runContainer(ctx, postgres.Run, want.postgres,
		postgres.WithDatabase("doorbuster"), postgres.WithUsername("doorbuster"), postgres.WithPassword("doorbuster"),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "max_connections="+strconv.Itoa(privateConnections)),
		postgres.BasicWaitStrategies())
	return contain(ctx, c, err, func() (string, error) { return c.ConnectionString(ctx, "sslmode=disable") }, describePostgres)
}

func redisContainer(ctx context.Context, want images) (running, error) {
	c, err := runContainer(ctx, redismodule.Run, want.redis)
	return contain(ctx, c, err, func() (string, error) { return c.ConnectionString(ctx) }, describeRedis)
}

// runContainer is run(ctx, image, options...), and nothing left behind. An engine carries out a request to create a
// container even when the client no longer waits for the answer, and then nobody knows that container. So a
// cancellation that comes meanwhile takes effect right after, or after createLimit.
func runContainer[C testcontainers.Container](ctx context.Context,
	run func(context.Context, string, ...testcontainers.ContainerCustomizer) (C, error),
	image string, options ...testcontainers.ContainerCustomizer,
) (C, error) {
	whole, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var (
		mu       sync.Mutex
		creating bool
	)
	defer context.AfterFunc(ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		if creating {
			time.AfterFunc(createLimit, cancel)
		} else {
			cancel()
		}
	})()
	set := func(now bool) error {
		mu.Lock()
		defer mu.Unlock()
		creating = now
		if !creating && ctx.Err() != nil {
			cancel()
		}
		return nil
	}
	return run(whole, image, append(options,
		testcontainers.WithLabels(map[string]string{ownerLabel: owner(os.Getpid())}),
		testcontainers.WithAdditionalLifecycleHooks(testcontainers.ContainerLifecycleHooks{
			PreCreates: []testcontainers.ContainerRequestHook{
				func(context.Context, testcontainers.ContainerRequest) error { return set(true) },
			},
			PostCreates: []testcontainers.ContainerHook{
				func(context.Context, testcontainers.Container) error { return set(false) },
			},
		}))...)
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

// ownerLabel says which process a container is for, so that a later run can remove what a killed one left. That is
// for runs without the reaper.
const ownerLabel = "doorbuster.dbtest.owner"

// owner names a process of this machine, and of this container if we are in one: elsewhere a pid means another.
func owner(pid int) string {
	host, _ := os.Hostname()
	namespace, _ := os.Readlink("/proc/self/ns/pid") // "" where there is no such thing
	return fmt.Sprintf("%s %s %d", host, namespace, pid)
}

// sweep removes containers whose owner is gone. Whatever is not surely a leftover stays.
func sweep(engine *client.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), sweepLimit)
	defer cancel()
	found, err := engine.ContainerList(ctx, client.ContainerListOptions{
		All: true, Filters: make(client.Filters).Add("label", ownerLabel),
	})
	if err != nil {
		return
	}
	for _, c := range found.Items {
		label := c.Labels[ownerLabel]
		pid, err := strconv.Atoi(label[strings.LastIndexByte(label, ' ')+1:])
		if err == nil && label == owner(pid) && !alive(pid) {
			_, _ = engine.ContainerRemove(ctx, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
		}
	}
}

func alive(pid int) bool {
	p, err := os.FindProcess(pid) // never fails on Unix; on Windows it does if there is none
	return err == nil && !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
}
