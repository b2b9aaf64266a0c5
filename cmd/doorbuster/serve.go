package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"doorbuster/app"
	"doorbuster/cluster"
	"doorbuster/cluster/admin"
)

type serveCommand struct {
	databaseFlags
	shopFlags
	clusterFlags
}

// controlFlags say where a running master is reached.
type controlFlags struct {
	ControlSocket string `name:"control-socket" env:"CONTROL_SOCKET" type:"path" placeholder:"PATH" help:"Where the master takes commands. By default in the runtime directory."`
}

// commandFlags are those of the commands to a running master.
type commandFlags struct {
	controlFlags
	Timeout time.Duration `name:"timeout" default:"5s" help:"How long the master may take to hear the command. One that it does not hear in time it does not carry out later either."`
}

// clusterFlags say how a master runs its workers.
type clusterFlags struct {
	controlFlags
	Workers           int           `name:"workers" env:"WORKERS" default:"0" help:"Number of workers. 0: one for each core that this process may use."`
	WorkerProcs       int           `name:"worker-procs" env:"WORKER_PROCS" default:"0" help:"GOMAXPROCS of each worker. 0: the cores, divided by the workers at the start, and rounded up."`
	AdminAddr         string        `name:"admin-addr" env:"ADMIN_ADDR" default:"127.0.0.1:3001" help:"Address for status, commands and metrics. Empty: none."`
	AdminToken        string        `name:"admin-token" env:"ADMIN_TOKEN" help:"Bearer token of the admin address. Required if that is not a loopback address. Others on this machine can see it on the command line, and not in the environment."`
	EnvFile           string        `name:"env-file" env:"ENV_FILE" placeholder:"PATH" help:"Variables of workers, as in the EnvironmentFile= of systemd. Read anew at each reload; what the command line says stands above them, and the master itself takes none from there."`
	WorkerUser        string        `name:"worker-user" env:"WORKER_USER" placeholder:"NAME" help:"Run workers as this user, with all of its groups. For a master that root has started, to serve on a port below 1024."`
	PIDFile           string        `name:"pid-file" env:"PID_FILE" type:"path" placeholder:"PATH" help:"PID file. By default in the runtime directory."`
	ReadyTimeout      time.Duration `name:"ready-timeout" env:"READY_TIMEOUT" default:"30s" help:"How long a worker may take to be ready."`
	Bake              time.Duration `name:"bake" env:"BAKE" default:"1s" help:"How long the first new worker of a reload has to stay healthy."`
	KillTimeout       time.Duration `name:"kill-timeout" env:"KILL_TIMEOUT" default:"30s" help:"Kill a worker that takes longer to leave."`
	HeartbeatInterval time.Duration `name:"heartbeat-interval" env:"HEARTBEAT_INTERVAL" default:"10s" help:"How often workers say that they are alive."`
	HeartbeatTimeout  time.Duration `name:"heartbeat-timeout" env:"HEARTBEAT_TIMEOUT" default:"30s" help:"Kill and replace a worker that is silent for this long."`
	MaxWorkerMemory   int64         `name:"max-worker-memory-mb" env:"MAX_WORKER_MEMORY_MB" default:"512" help:"Replace a worker whose resident memory stays beyond this for the heartbeat timeout. 0: never."`
	StatusInterval    time.Duration `name:"status-interval" env:"STATUS_INTERVAL" default:"15s" help:"How often the log gets a line about all workers."`
	StopWithStdin     bool          `name:"stop-with-stdin" env:"STOP_WITH_STDIN" help:"Stop when standard input ends: for a program that runs this one and may die." hidden:""`
	AlertCommand      string        `name:"alert-command" env:"ALERT_COMMAND" help:"Run this with sh, with ALERT_REASON in its environment, when a release crashes too often."`
}

// Run is the master, or, where a master has started this program with the same command line, one of its workers.
func (c *serveCommand) Run(env *environment) error {
	worker, err := cluster.Join()
	switch {
	case err == nil:
		return c.work(env, worker)
	case errors.Is(err, cluster.ErrNoMaster):
		return c.supervise(env)
	default:
		return err
	}
}

// supervise runs the master. It neither checks nor uses what only workers need: a bad setting is found by the first
// worker, in its own words, and a running master outlives it.
func (c *serveCommand) supervise(env *environment) error {
	log := env.log.With("role", "master")
	os.Unsetenv("ADMIN_TOKEN") // workers serve strangers and do not need it
	if err := c.clusterFlags.check(&c.shopFlags); err != nil {
		return err
	}
	user, err := lookUpUser(c.WorkerUser)
	if err != nil {
		return err
	}
	cfg := cluster.Config{ // in which 0 means the default, so that a bake of no time takes a nanosecond
		Listen: []string{c.Addr}, Workers: c.Workers, Env: c.workerEnv(env.logFlags), User: user,
		Command: append([]string{""}, withoutFlag(os.Args[1:], "--admin-token")...),
		PIDFile: c.PIDFile, ControlSocket: c.ControlSocket,
		ReadyTimeout: c.ReadyTimeout, Bake: max(c.Bake, 1), KillTimeout: c.KillTimeout, ShutdownDelay: c.ShutdownDelay,
		HeartbeatInterval: c.HeartbeatInterval, HeartbeatTimeout: c.HeartbeatTimeout, MaxWorkerMemory: c.MaxWorkerMemory << 20,
		StatusInterval: c.StatusInterval, OnSetting: env.set, Output: env.stderr, Log: log,
	}
	if c.EnvFile != "" {
		cfg.EnvFunc = func() ([]string, error) { return readEnvFile(c.EnvFile) }
	}
	if c.AlertCommand != "" {
		cfg.AlertCommand = []string{"/bin/sh", "-c", c.AlertCommand}
	}
	if !c.StopWithStdin {
		if err := leaveStdin(); err != nil {
			return fmt.Errorf("close standard input: %w", err)
		}
	}
	master, err := cluster.New(cfg)
	if err != nil {
		return err
	}
	if env.signals.settle(); env.signals.stop.Err() != nil { // perhaps before the master took signals, and then it has not heard
		return master.Close()
	}
	closeAdmin, err := c.serveAdmin(env, master)
	if err != nil {
		return errors.Join(unlessStopped(env.signals.stop, err), master.Close())
	}
	defer closeAdmin()
	ctx, cancel := context.WithCancel(context.Background()) // it takes the signals itself
	defer cancel()
	if c.StopWithStdin {
		go func() {
			io.Copy(io.Discard, os.Stdin) //nolint:errcheck // whatever ends it
			cancel()
		}()
	}
	return master.Run(ctx)
}

// check refuses settings of the master that can't work, and fills in those that have no fixed default.
func (c *clusterFlags) check(shop *shopFlags) error {
	dir, err := runtimeDir()
	if err != nil && (c.ControlSocket == "" || c.PIDFile == "") {
		return err
	}
	if c.ControlSocket == "" || c.PIDFile == "" {
		if err := makeRuntimeDir(dir); err != nil {
			return err
		}
	}
	if c.ControlSocket == "" {
		c.ControlSocket = filepath.Join(dir, controlSocketName)
	}
	if c.PIDFile == "" {
		c.PIDFile = filepath.Join(dir, "doorbuster.pid")
	}
	if err := c.checkFolders(); err != nil {
		return err
	}
	if c.Workers < 0 {
		return &app.SettingError{Variable: "WORKERS", Problem: fmt.Sprintf("is %d: a shop needs 1 worker at least, and 0 stands for one for each core", c.Workers)}
	}
	return errors.Join(
		atLeast("READY_TIMEOUT", c.ReadyTimeout, time.Millisecond), atLeast("BAKE", c.Bake, 0),
		// The worker ends the drain in order; the kill is for one that does not.
		atLeast("KILL_TIMEOUT", c.KillTimeout, shop.DrainTimeout),
		atLeast("HEARTBEAT_INTERVAL", c.HeartbeatInterval, time.Millisecond),
		atLeast("HEARTBEAT_TIMEOUT", c.HeartbeatTimeout, 2*c.HeartbeatInterval),
		atLeast("STATUS_INTERVAL", c.StatusInterval, time.Millisecond),
	)
}

// checkFolders refuses places for the files of the master that can't be written
// to. A PID file that is there is judged by whoever opens it.
func (c *clusterFlags) checkFolders() error {
	if err := checkWritable(filepath.Dir(c.ControlSocket), "CONTROL_SOCKET, or XDG_RUNTIME_DIR for the PID file as well,"); err != nil {
		return err
	}
	if _, err := os.Lstat(c.PIDFile); err == nil {
		return nil
	}
	return checkWritable(filepath.Dir(c.PIDFile), "PID_FILE, or XDG_RUNTIME_DIR for the control socket as well,")
}

// workerEnv gives each worker its share of the cores: what a process takes that believes to be alone, another one lacks.
// Their log looks like the master's, although they write it to a pipe.
func (c *clusterFlags) workerEnv(logs logFlags) []string {
	added := []string{"LOG_FORMAT=" + logs.LogFormat}
	procs := c.WorkerProcs
	if procs == 0 {
		if os.Getenv("GOMAXPROCS") != "" {
			return added
		}
		cores, _ := cluster.DefaultWorkers(0)
		workers := c.Workers
		if workers == 0 { // what the master will find, and give the reason for
			workers, _ = cluster.DefaultWorkers(c.MaxWorkerMemory << 20)
		}
		procs = (cores + workers - 1) / workers
	}
	return append(added, "GOMAXPROCS="+strconv.Itoa(procs))
}

const controlSocketName = "control.sock"

// runtimeDir is where the PID file and the control socket are by default: what the service manager gave, or the user's
// own. Where it lies in a folder that all can write to, somebody else may have made it, to take over the commands of
// this user's shop: such a one is refused.
func runtimeDir() (string, error) {
	if dirs := os.Getenv("RUNTIME_DIRECTORY"); dirs != "" { // systemd.exec(5)
		dir, _, _ := strings.Cut(dirs, ":")
		return dir, nil
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "doorbuster"), nil
	}
	if os.Getuid() == 0 {
		return "/run/doorbuster", nil
	}
	dir := filepath.Join(os.TempDir(), "doorbuster-"+strconv.Itoa(os.Getuid()))
	if info, err := os.Lstat(dir); err == nil && !isOwn(info) {
		return "", foreignDirError(dir)
	}
	return dir, nil
}

func foreignDirError(dir string) error {
	return fmt.Errorf("%s is not a folder that only this account can write to: remove it, or set XDG_RUNTIME_DIR to one that is", dir)
}

// makeRuntimeDir makes the folder that runtimeDir has named, and looks at what is there then: somebody may have been faster.
// The service manager's is left as it is.
func makeRuntimeDir(dir string) error {
	if os.Getenv("RUNTIME_DIRECTORY") != "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the runtime directory: %w; set XDG_RUNTIME_DIR to a folder that this account may write to", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the runtime directory: %w", err)
	}
	if !isOwn(info) {
		return foreignDirError(dir)
	}
	return nil
}

// removeRuntimeDir removes the folder of [runtimeDir] if it is empty. A later
// start makes it again. The folder of a service manager stays.
func removeRuntimeDir() {
	if os.Getenv("RUNTIME_DIRECTORY") != "" {
		return
	}
	dir, err := runtimeDir()
	if err != nil {
		return
	}
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		os.Remove(dir) // fails while another shop has its socket there
	}
}

// serveAdmin opens the admin address.
func (c *clusterFlags) serveAdmin(env *environment, master *cluster.Master) (closeAll func(), err error) {
	if c.AdminAddr == "" {
		return func() {}, nil
	}
	handler, err := admin.New(master, admin.Config{Addr: c.AdminAddr, Token: c.AdminToken})
	if err != nil {
		return nil, fmt.Errorf("ADMIN_ADDR %s: %w", c.AdminAddr, err)
	}
	listener, err := listen(env.signals.stop, env.log.With("role", "master"), "ADMIN_ADDR", c.AdminAddr)
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: adminHeaderTimeout, IdleTimeout: adminIdleTimeout, // a ReadTimeout would end events
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.Serve(cluster.LimitWrites(listener, adminWriteTimeout)) //nolint:errcheck // it ends by Close
	}()
	env.log.With("role", "master").Info("admin address", "addr", listener.Addr().String())
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), adminCloseTimeout)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
		<-done
	}, nil
}

// Time limits of the admin address. Answers may take as long as they like, if
// what there is of them is taken.
const (
	adminHeaderTimeout = 5 * time.Second
	adminWriteTimeout  = 10 * time.Second
	adminIdleTimeout   = 2 * time.Minute
	adminCloseTimeout  = time.Second
)

// work runs one worker of a master.
func (c *serveCommand) work(env *environment, worker *cluster.Worker) error {
	if err := c.tune(env); err != nil { // before the settings that were made since
		return err
	}
	if err := worker.OnSetting(env.set); err != nil {
		env.log.Warn("a setting of another release is not applied", "slot", worker.Slot(), "release", worker.Release(), "error", err)
	}
	return c.serve(env, c.databaseFlags, seat{
		slot: worker.Slot(), release: worker.Release(), workers: worker.Workers(), stop: worker.Stop(), siblings: worker,
		serve: func(s *cluster.Server, shop *app.App) error {
			worker.HandleAdmin(debugHandler(shop))
			worker.Healthy(shop.Healthy)
			return worker.Serve(s)
		},
	})
}
