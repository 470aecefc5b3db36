// Looks every few seconds whether the agent wrote a new page, takes it over where it stands, and
// says so where no new one comes. The page can be read without it.
(() => {
  "use strict";
  const EVERY = 5000;
  const root = document.documentElement;
  const limit = Number(root.dataset.stale) * 1000;
  const fromFile = location.protocol === "file:";
  let changed = performance.now();
  // Until a new page has come, only this computer's clock tells how old this one is.
  let seenToChange = false;
  let gone = false;

  const part = (id) => document.getElementById(id);
  const age = () => Date.now() - Number(root.dataset.stamp) * 1000;

  function judge() {
    const old = age() > limit;
    const still = performance.now() - changed > limit;
    const stale = !gone && (still || (fromFile && old));
    const doubtful = !gone && !stale && !seenToChange && old;
    part("sign-gone").hidden = !gone;
    part("sign-stale").hidden = !stale;
    part("sign-doubtful").hidden = !doubtful;
    root.classList.toggle("old", gone || stale);
  }

  function take(fresh) {
    const next = fresh.getElementById("page");
    for (const open of document.querySelectorAll("details[open]")) {
      fresh.getElementById(open.id)?.setAttribute("open", "");
    }
    if (root.dataset.health !== fresh.documentElement.dataset.health) {
      part("announcement").textContent = fresh.getElementById("health").textContent;
    }
    part("page").replaceWith(next);
    part("icon").href = fresh.getElementById("icon").href;
    document.title = fresh.title;
    Object.assign(root.dataset, fresh.documentElement.dataset);
  }

  async function look() {
    try {
      // Whole: a server that is asked for what is newer says "nothing" after a clock was set back.
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const stamp = fresh.documentElement.dataset.stamp;
      // A log-in page that stands in between is none of the gateway's.
      if (!stamp || !fresh.getElementById("page")) throw new Error("another page");
      if (stamp !== root.dataset.stamp) {
        // Another style or script came with another version of the agent.
        if (fresh.querySelector("style").textContent !== document.querySelector("style").textContent) {
          location.reload();
          return;
        }
        take(fresh);
        changed = performance.now();
        seenToChange = true;
      }
      gone = false;
    } catch {
      gone = true;
    }
    judge();
  }

  async function go() {
    if (fromFile) {
      // A file can't be fetched, only opened anew.
      setTimeout(() => location.reload(), 3 * EVERY);
      return;
    }
    if (!document.hidden) await look();
    setTimeout(go, EVERY);
  }

  judge();
  setTimeout(go, EVERY);
})();
