//go:build unix

package cluster

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// These are in virtual time: whether a copy is quiet for long enough, or goes on for too long, must not depend on how busy
// the machine is. The mtime of files lies in the future of a bubble, and is gone by as it is seen to change.

func TestReleaseBeingWritten(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "program")
		defer keepDescriptors()()
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		const pieces = 10
		piece := func(i int) {
			if _, err := file.Write(one[i*len(one)/pieces : (i+1)*len(one)/pieces]); err != nil {
				t.Error(err)
			}
		}
		piece(0)
		var writer sync.WaitGroup
		writer.Go(func() {
			pause := time.NewTicker(releaseQuiet * 9 / 10)
			defer pause.Stop()
			for i := 1; i < pieces; i++ {
				<-pause.C
				piece(i)
			}
			file.Close()
		})
		defer writer.Wait()
		if r := mustAdopt(t, path); r.sum != sha256.Sum256(one) {
			t.Error("not the whole file was adopted")
		}
	})
}

// M8: a write that comes while the file is being read makes adopt read it once more.
func TestReleaseWrittenWhileItIsRead(t *testing.T) {
	t.Parallel()
	one, two := releasePrograms(t)
	synctest.Test(t, func(t *testing.T) {
		path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
		file, err := openRelease(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r := &release{path: path, file: file}
		readings := 0
		err = r.settle(t.Context(), func(ctx context.Context, size int64) error {
			readings++
			defer func() {
				if readings == 1 {
					putRelease(t, path, two, 0o755)
					if err := os.Chtimes(path, time.Time{}, quietSince.Add(time.Second)); err != nil {
						t.Error(err)
					}
				}
			}()
			return r.inspect(ctx, size)
		})
		if err != nil || readings != 2 || r.sum != sha256.Sum256(two) || r.changed() != nil {
			t.Errorf("%d readings, %v, %v; want the second program after two", readings, err, r.changed())
		}
	})
}

// M9: a copy that does not end is refused after 2 s.
func TestReleaseWrittenForEver(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		file, err := openRelease(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r := &release{path: path, file: file}
		writes := 0
		err = r.settle(t.Context(), func(context.Context, int64) error {
			writes++
			later := quietSince.Add(time.Duration(writes) * time.Second)
			return os.Chtimes(path, later, later)
		})
		if err == nil || !strings.Contains(err.Error(), "it is still being written: waited 2s") {
			t.Errorf("got %v", err)
		}
		if waited := time.Since(start); waited != releasePatience {
			t.Errorf("waited %v, want %v", waited, releasePatience)
		}
		// Each write is followed by 100 ms of quiet before the next reading.
		if writes < 15 || writes > 20 {
			t.Errorf("%d readings in 2 s, want one after each 110 ms", writes)
		}
	})
}

// M9: a reload that is called off does not wait for the copy.
func TestReleaseCalledOff(t *testing.T) {
	t.Parallel()
	one, _ := releasePrograms(t)
	path := putRelease(t, filepath.Join(t.TempDir(), "program"), one, 0o755)
	future := time.Now().Add(time.Hour) // its quiet must be watched for
	if err := os.Chtimes(path, future, future); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the operator changed her mind")
	cancel(why)
	if _, err := adopt(ctx, path); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
	old := putRelease(t, path+".old", one, 0o755) // the reading ends with the context too
	if _, err := adopt(ctx, old); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}

// M8: an overwrite in place is noticed even if it leaves size and mtime as they were. What deploys do to an old release
