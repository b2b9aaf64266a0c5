package dbtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/log"
	"github.com/testcontainers/testcontainers-go/modules/postgres"
	redismodule "github.com/testcontainers/testcontainers-go/modules/redis"
	"github.com/testcontainers/testcontainers-go/wait"
)

// Where there is no engine, or no network behind it, tests must not wait for that to be certain.
const (
	engineLimit   = 3 * time.Second
	registryLimit = 5 * time.Second
	createLimit   = 10 * time.Second // for an engine to finish what it began
	sweepLimit    = 4 * time.Second
)

// Where the servers listen inside their containers.
var (
	postgresPort = network.MustParsePort("5432/tcp")
	redisPort    = network.MustParsePort("6379/tcp")
)

type images struct{ postgres, redis string }

func imagesFrom(getenv func(string) string) images {
	return images{
		postgres: cmp.Or(getenv("TEST_POSTGRES_IMAGE"), "postgres:17.7-alpine"),
		redis:    cmp.Or(getenv("TEST_REDIS_IMAGE"), "redis:8.4-alpine"),
	}
}

// found is a Docker engine that tests can use.
type found struct {
	version string // "Docker 28.2.2"
	route   route  // to its containers
}

// probe asks whether there is a Docker engine with these images, or that can
// pull them, and whose containers can be reached from here. It rids the engine
// of what earlier runs left. The error is the reason why not, in one sentence;
// the cause behind it would be a page about every socket that was tried.
// Where the images are in the engine, it takes less than 20 seconds.
func probe(ctx context.Context, want images) (found, error) {
	log.SetDefault(log.NewNoopLogger()) // else it introduces itself on stderr in a dozen lines
	engine, version, err := findEngine(ctx)
	if err != nil {
		return found{}, err
	}
	defer engine.Close()
	reaper := reaperImage()
	for _, image := range []string{want.postgres, want.redis, reaper} {
		switch {
		case image == "" || available(ctx, engine, image):
		case image == reaper:
			return found{}, fmt.Errorf("%s has no image %s and cannot pull it; TESTCONTAINERS_RYUK_DISABLED=true does without it",
				version, image)
		default:
			return found{}, fmt.Errorf("%s has no image %s and cannot pull it", version, image)
		}
	}
	sweep(ctx, engine)
	if err := pull(ctx, engine, want.redis); err != nil {
		return found{}, fmt.Errorf("%s cannot pull %s: %s", version, want.redis, firstLine(err))
	}
	r, err := findRoute(ctx, engine, want.redis, surroundings{
		override: os.Getenv(hostOverride),
		engine:   engine.DaemonHost(),
		asked:    os.Getenv("DOCKER_HOST"),
		gateways: defaultGateways(),
		direct:   reaper == "", // testcontainers reaches the reaper by a published port only
	})
	if err != nil {
		return found{}, fmt.Errorf("%s %w", version, err)
	}
	if r.host != "" {
		// The one way to tell testcontainers, which also has to reach its reaper.
		if err := os.Setenv(hostOverride, r.host); err != nil {
			return found{}, err
		}
	}
	return found{version: version, route: r}, nil
}

// findEngine takes the engine that testcontainers will take.
func findEngine(ctx context.Context) (engine *client.Client, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	c, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, "", errors.New("no Docker engine answered")
	}
	about, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		c.Close()
		return nil, "", errors.New("no Docker engine answered")
	}
	return c.Client, "Docker " + about.Version, nil
}

// reaperImage is what testcontainers starts beside the first container, to remove all of them should this process
// be killed; "" if it is told not to.
func reaperImage() string {
	if testcontainers.ReadConfig().Config.RyukDisabled {
		return ""
	}
	return testcontainers.ReaperDefaultImage //nolint:staticcheck // deprecated in favour of an internal name
}

func available(ctx context.Context, engine *client.Client, image string) bool {
	ctx, cancel := context.WithTimeout(ctx, registryLimit)
	defer cancel()
	if _, err := engine.ImageInspect(ctx, image); err == nil {
		return true
	}
	_, err := engine.DistributionInspect(ctx, image, client.DistributionInspectOptions{})
	return err == nil
}

// pull does nothing if the image is in the engine.
func pull(ctx context.Context, engine *client.Client, image string) error {
	if _, err := engine.ImageInspect(ctx, image); err == nil {
		return nil
	}
	provider, err := testcontainers.NewDockerProvider() // it knows the registry's credentials
	if err != nil {
		return err
	}
	defer provider.Close()
	return provider.PullImage(ctx, image)
}

func postgresContainer(ctx context.Context, want images, by route) (running, error) {
	const user, database = "doorbuster", "doorbuster"
	password := rand.Text()
	c, err := runContainer(ctx, postgres.Run, want.postgres,
		postgres.WithDatabase(database), postgres.WithUsername(user), postgres.WithPassword(password),
		testcontainers.WithCmd("postgres", "-c", "fsync=off", "-c", "max_connections="+strconv.Itoa(privateConnections)),
		// It starts twice: the first time for initdb, and without a port.
		by.wait(postgresPort, wait.ForLog("database system is ready to accept connections").WithOccurrence(2)))
	url := func(address string) string {
		return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", user, password, address, database)
	}
	return contain(ctx, by, c, err, postgresPort, url, describePostgres)
}

func redisContainer(ctx context.Context, want images, by route) (running, error) {
	c, err := runContainer(ctx, redismodule.Run, want.redis,
		by.wait(redisPort, wait.ForLog("* Ready to accept connections")))
	url := func(address string) string { return "redis://" + address }
	return contain(ctx, by, c, err, redisPort, url, describeRedis)
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
func contain(ctx context.Context, by route, c testcontainers.Container, err error, port network.Port,
	url func(address string) string, describe func(context.Context, string) (string, error),
) (running, error) {
	r := running{close: func() error { return testcontainers.TerminateContainer(c) }} // which copes with nil
	var address string
	if err == nil {
		address, err = by.address(ctx, c, port)
	}
	if err == nil {
		r.url = url(address)
		r.what, err = describe(ctx, r.url)
	}
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
func sweep(ctx context.Context, engine *client.Client) {
	ctx, cancel := context.WithTimeout(ctx, sweepLimit)
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
