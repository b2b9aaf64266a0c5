package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"doorbuster/app/account"
	"doorbuster/app/cart"
	"doorbuster/app/catalog"
	"doorbuster/app/checkout"
	"doorbuster/app/inventory"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

// App is one worker of the shop. Make it with [New], serve its [App.HTTPServer] or [App.Handler], end it with [App.Close].
type App struct {
	cfg     Config
	log     *slog.Logger
	started time.Time

	pools    *pools
	redis    *redis.Client
	quotas   *redis.Client // where limits are counted
	provider *redis.Client // where the simulated payment provider keeps its books: the shop's crowd is not its own

	// What anybody reads, on the catalogue's connections.
	storefront struct {
		catalog   *catalog.Store
		inventory *inventory.Store
	}
	// The same for carts, on the customers' connections.
	catalog   *catalog.Store
	inventory *inventory.Store
	discounts *pricing.Store
	carts     *cart.Store
	accounts  *account.Store
	checkout  *checkout.Service
	retention *retention

	hints *inventory.Hints // of what is sold out
	news  *news            // from PostgreSQL

	sessions    *sessions
	limits      *limits
	misses      *missGate    // before all that the caches below ask for
	products    *answerCache // by slug
	frontPages  *answerCache // the first page of each list without a search
	lists       *answerCache // all other pages, by what makes one
	categories  *answerCache // one
	categoryIDs atomic.Pointer[map[string]int64]
	skuIDs      *skuIDs

	checkoutGate *turnstile // to the checkout: nothing else waits there
	customerGate *turnstile // to all other requests of customers

	handler  http.Handler
	metrics  *metrics
	throttle logThrottle

	background sync.WaitGroup
	stop       context.CancelFunc // ends the background work
}

// New connects a worker to its databases and checks them. It fails fast with a *[SettingError] when a setting is missing,
// malformed, or names something that does not answer. Its background work ends with [App.Close].
func New(ctx context.Context, cfg Config) (*App, error) {
	cfg.MaxConns = cmp.Or(cfg.MaxConns, 10)
	cfg.CheckoutPlaces = cmp.Or(cfg.CheckoutPlaces, checkoutPlaces)
	if cfg.Host == nil {
		cfg.Host = nowhere{}
	}
	if cfg.Tunables == nil {
		cfg.Tunables = NewTunables()
	}
	cfg.SweepInterval = cmp.Or(cfg.SweepInterval, 5*time.Second)
	connections, err := openPostgres(ctx, cfg)
	if err != nil {
		return nil, err
	}
	client, err := openRedis(ctx, cfg)
	if err != nil {
		connections.close()
		return nil, err
	}
	quotas, limits, err := openLimits(cfg, client)
	if err != nil {
		connections.close()
		client.Close()
		return nil, err
	}
	provider := redis.NewClient(client.Options())
	customers := connections.of[customerClass]
	a := &App{
		cfg: cfg, log: cfg.Log, started: time.Now(), pools: connections, redis: client, quotas: quotas, provider: provider,
		catalog:   catalog.NewStore(customers),
		inventory: inventory.NewStore(customers),
		discounts: pricing.NewStore(customers),
		carts:     cart.NewStore(customers),
		accounts:  account.NewStore(customers, account.Config{}),
		sessions:  newSessions(client, cfg.PlainHTTP),
		limits:    limits,
		hints:     new(inventory.Hints), news: new(news),
	}
	if cfg.Siblings != nil {
		a.shareHints(cfg.Siblings)
	}
	cfg.Checkout.SoldOut = a.hints
	cfg.Checkout.Reads, cfg.Checkout.Background = customers, connections.of[backgroundClass]
	a.checkout = checkout.New(connections.of[checkoutClass], payment.NewSimulator(provider, cfg.Payment), cfg.Log, cfg.Checkout)
	a.retention = newRetention(connections.of[backgroundClass], client, cfg)
	a.openCatalogue(connections.of[catalogueClass])
	a.checkoutGate = newTurnstile("checkout", cfg.CheckoutPlaces, checkoutPatience)
	a.customerGate = newTurnstile("customer", customerPlaces, customerPatience)
	a.metrics = a.newMetrics()
	limits.refused = a.metrics.refuse
	cfg.Tunables.onShare(a.accounts.SetShare)
	if a.handler, err = a.routes(); err != nil {
		a.Close() //nolint:contextcheck // ctx bounds the start, not the end
		return nil, fmt.Errorf("set up routes: %w", err)
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	a.background.Go(func() { a.checkout.RunSweeper(background, cfg.SweepInterval) })
	a.background.Go(func() { untilDrain(background, cfg.Host, a.retention.run) })
	listener := &listener{config: connections.of[backgroundClass].Config().ConnConfig, log: cfg.Log, news: a.news, stock: a.heardOfStock}
	listener.config.RuntimeParams["application_name"] += announcement(cfg.SchemaVersion, connections.size())
	a.background.Go(func() { untilDrain(background, cfg.Host, listener.run) })
	return a, nil
}

// untilDrain runs f with a context that ends with ctx and when the drain begins. A worker that leaves gives up the connection
// that it listens on, and with it its share of what there is for the next one; what it still answers is asked for anew.
func untilDrain(ctx context.Context, host Host, f func(context.Context)) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-host.DrainBegan():
			stop()
		case <-ctx.Done():
		}
	}()
	f(ctx)
}

// heardOfStock takes in what PostgreSQL tells about a shelf, whichever host has emptied or filled it.
func (a *App) heardOfStock(sku int64, units int) {
	if units == 0 {
		a.hints.Heard([]int64{sku}, nil)
	} else {
		a.hints.Heard(nil, []int64{sku})
	}
}

// Handler returns the whole shop as a handler, for tests and benchmarks.
func (a *App) Handler() http.Handler { return a.handler }

// Close ends the background work and then closes the connections to PostgreSQL and Redis, last of all. It waits for
// requests that still use one, and for orders that are being placed or settled.
func (a *App) Close() {
	if a.stop != nil {
		a.stop()
	}
	a.background.Wait()
	if err := a.checkout.Close(context.Background()); err != nil { // it is bounded by the limits of its transactions
		a.log.Warn("close the checkout", "error", err)
	}
	a.limits.limiter.Close()
	a.pools.close()
	if err := errors.Join(a.redis.Close(), a.quotas.Close(), a.provider.Close()); err != nil {
		a.log.Warn("close Redis", "error", err)
	}
}

func pid() int { return os.Getpid() }
