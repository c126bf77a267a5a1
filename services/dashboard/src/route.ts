// Which page an address means. The page is in the fragment, so that the gateway serves one document.

export type Route = { readonly page: "fleet" } | { readonly page: "device"; readonly id: string };

const DEVICE = "#/device/";

/** Total: an address that names no page means the fleet. */
export function routeOf(hash: string): Route {
  if (!hash.startsWith(DEVICE) || hash.length === DEVICE.length) return { page: "fleet" };
  try {
    return { page: "device", id: decodeURIComponent(hash.slice(DEVICE.length)) };
  } catch {
    return { page: "fleet" };
  }
}

export const hashOf = (route: Route): string =>
  route.page === "fleet" ? "#/" : `${DEVICE}${encodeURIComponent(route.id)}`;
